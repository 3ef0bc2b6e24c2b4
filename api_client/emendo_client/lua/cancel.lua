-- Cancels a job that has not begun, or asks a running one to stop before its commit.
--
-- KEYS  1 job record   2 delayed   3 cancelling   4 the job's channel
-- ARGV  1 job id   2 project   3 record TTL once final (s)
-- Returns the status after the call, or 'unknown' when the project has no such job.
-- A queued job's inbox entry stays: the drain finds the record final and acknowledges it. A batch job ends when its
-- chunks have been told, and a job of which a part is committed already when its next attempt finds that part.
local job = KEYS[1]
local record = redis.call('HMGET', job, 'status', 'project', 'shard', 'chunks', 'settled', 'error')
if not record[1] or record[2] ~= ARGV[2] then return 'unknown' end
local is_open = record[1] == 'queued' or record[1] == 'running' or record[1] == 'retrying'
local has_committed = record[1] == 'retrying' and (record[5] or string.find(record[6] or '', 'NOT_CONFIRMED', 1, true))
if is_open and (record[4] or has_committed) then
  redis.call('HSET', job, 'cancel', 1)
  record[1] = 'running'
end
if record[1] == 'running' then
  redis.call('SADD', KEYS[3], ARGV[1])
  redis.call('EXPIRE', KEYS[3], ARGV[3])
elseif record[1] == 'queued' or record[1] == 'retrying' then
  local time = redis.call('TIME')
  redis.call('HSET', job, 'status', 'cancelled', 'finished', string.format('%.0f', time[1] * 1000000 + time[2]))
  redis.call('HDEL', job, 'payload', 'next_attempt')
  redis.call('EXPIRE', job, ARGV[3])
  redis.call('ZREM', KEYS[2], record[3] .. ':' .. ARGV[1])
  redis.call('PUBLISH', KEYS[4], 'cancelled')
  return 'cancelled'
end
return record[1]
