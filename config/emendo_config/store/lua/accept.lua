-- Accepts one job: record, inbox entry and wake-up key in one step, so that no job is ever half accepted.
--
-- Returns one of
-- - {'accepted', job id, notify? (1 or 0)}
-- - {'duplicate', first job id, 0}
-- - {'conflict', first job id, 0}
-- - {'held', the job whose re-embedding is under way, 0}
-- - {'refused', how many jobs of the project are open, 0}
-- - {'full', '', 0}: a Redis has reached its watermark
-- - {'expired', '', 0}: what it adds would have expired already
--
-- Safe to run twice: the second run finds the record and only repeats the answer.
--
-- At the memory limit Redis refuses it, except for requests that only erase: these end with less memory.
if redis.call('EXISTS', job) == 1 then
  return {'accepted', job_id, redis.call('GET', wakeup) == woken_by and 1 or 0}
end
if idempotency ~= '' then
  local held = redis.call('HMGET', idempotency, 'job_id', 'fingerprint')
  if held[1] then
    return {held[2] == fingerprint and 'duplicate' or 'conflict', held[1], 0}
  end
end
if expires_at > 0 then
  local time = redis.call('TIME')
  if expires_at <= time[1] * 1000000 + time[2] then return {'expired', '', 0} end
end
-- Reads that fail where the writes below would: a key of another type leaves nothing half done.
redis.call('XLEN', inbox)
redis.call('ZCARD', jobs)
redis.call('SCARD', shards)
if full ~= '' and redis.call('EXISTS', full) == 1 then return {'full', '', 0} end
use_windows(windows_from, windows_to)
guard_window(lane, project)
local count = open_jobs ~= '' and beyond_quota(open_jobs, 1, max_open)
if count then return {'refused', tostring(count), 0} end
if migration ~= '' and redis.call('HEXISTS', migration, 'active') == 1 then
  return {'held', redis.call('HGET', migration, 'job'), 0}
end
local submitted = coming_times(clock, 1)
if open_jobs ~= '' then  -- the first write: it fails by itself where the key is of another type
  redis.call('ZADD', open_jobs, submitted, job_id)
  redis.call('EXPIRE', open_jobs, open_ttl)
end
redis.call('SET', clock, submitted)
if migration ~= '' then
  redis.call('DEL', migration)
  redis.call('HSET', migration, 'job', job_id, 'active', 1, 'phase', 'planned', 'revision', 0)
end
if idempotency ~= '' then
  redis.call('HSET', idempotency, 'job_id', job_id, 'fingerprint', fingerprint)
  redis.call('EXPIRE', idempotency, idempotency_ttl)
end

redis.call('HSET', job, 'id', job_id, 'status', 'queued', 'shard', shard, 'submitted', submitted,
  unpack(ARGV, record_from, record_to))
if lane ~= '' then redis.call('HSET', job, 'lane', lane) end
redis.call('ZADD', jobs, submitted, job_id)
if not enters_window(lane, project, shard, job_id) then return {'accepted', job_id, 0} end
redis.call('XADD', inbox, '*', 'job', job_id)
if redis.call('SET', wakeup, woken_by, 'NX', 'PX', wakeup_ttl_ms) then
  redis.call('SADD', shards, shard)
  return {'accepted', job_id, 1}
end
return {'accepted', job_id, 0}
