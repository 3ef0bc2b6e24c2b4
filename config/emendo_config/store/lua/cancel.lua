-- Cancels a job that never began, or asks one that did to stop before its commit.
--
-- Returns one of
-- - the status after the call
-- - 'unknown': the project has no such job
-- - 'newer': a newer release wrote its record in a format that this one cannot read
--
-- A queued job's inbox entry stays: the drain finds the record final and acknowledges it. So does its place on a
-- waiting list. Its place in a window is taken by the next record, whose shard the sweeper wakes. A batch job ends once its
-- chunks know. A job that ever began ends with its next attempt. That one finds out what earlier ones committed, and
-- fences those that still stand before their commit.
--
-- It runs at the memory limit: a cancelled job gives its payload back.
use_windows(windows_from, windows_to)
local status, owner, shard, chunks, started, attempts, lane, format =
  unpack(fields_of(job, 'status', 'project', 'shard', 'chunks', 'started', 'attempts', 'lane', 'format'), 1, 8)
if not status or owner ~= project then return 'unknown' end
if (tonumber(format or '0') or 0) > RECORD_FORMAT then return 'newer' end

-- Reads that fail where the writes below would: a key of another type leaves nothing half done.
redis.call('SCARD', cancelling)
redis.call('ZCARD', delayed)
guard_leaving(lane, project)
local is_open = status == 'queued' or status == 'running' or status == 'retrying'
if is_open and (chunks or started or (tonumber(attempts or '0') or 0) > 0) then
  redis.call('HSET', job, 'cancel', 1)
  status = 'running'
end
if status == 'running' then
  redis.call('SADD', cancelling, job_id)
  redis.call('EXPIRE', cancelling, ttl)
elseif is_open then
  local time = redis.call('TIME')
  redis.call('HSET', job, 'status', 'cancelled', 'finished', string.format('%.0f', time[1] * 1000000 + time[2]))
  redis.call('HDEL', job, 'payload', 'next_attempt')
  redis.call('EXPIRE', job, ttl)
  redis.call('ZREM', delayed, delayed_member(shard, job_id))
  leave(lane, project, job_id)
  redis.call('PUBLISH', channel, 'cancelled')
  return 'cancelled'
end
return status
