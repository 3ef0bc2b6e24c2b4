-- Accepts one job: record, inbox entry and bell in one step, so that no job is ever half accepted.
--
-- KEYS  1 job record   2 inbox stream   3 bell   4 the project's jobs   5 clock   6 shards seen
--       7 idempotency record, or '' when the caller gave no key   8 migration (only for a job that begins one)
-- ARGV  1 job id   2 shard   3 ring id   4 ring TTL (ms)   5 fingerprint of the request
--       6 idempotency TTL (s)   7... field, value pairs of the record
-- Returns {'accepted', job id, ring? (1 or 0)}, {'duplicate', first job id, 0}, {'conflict', first job id, 0} or
-- {'held', the job whose migration is under way, 0}.
--
-- Safe to run twice: a second run finds the record and only repeats the answer.
local job, inbox, bell, jobs, clock, shards, idempotency, migration = unpack(KEYS)
local job_id, shard, ring_id = ARGV[1], ARGV[2], ARGV[3]
local rung = 'rung:' .. ring_id

if redis.call('EXISTS', job) == 1 then
  return {'accepted', job_id, redis.call('GET', bell) == rung and 1 or 0}
end
local has_key = idempotency and idempotency ~= ''
if has_key then
  local held = redis.call('HMGET', idempotency, 'job_id', 'fingerprint')
  if held[1] then
    return {held[2] == ARGV[5] and 'duplicate' or 'conflict', held[1], 0}
  end
end
if migration then
  if redis.call('HEXISTS', migration, 'active') == 1 then return {'held', redis.call('HGET', migration, 'job'), 0} end
  redis.call('DEL', migration)
  redis.call('HSET', migration, 'job', job_id, 'active', 1, 'phase', 'planned', 'revision', 0)
end
if has_key then
  redis.call('HSET', idempotency, 'job_id', job_id, 'fingerprint', ARGV[5])
  redis.call('EXPIRE', idempotency, ARGV[6])
end

-- One clock for all clients, strictly rising: "newest submission" is never a tie, even if the clock steps back.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local last = tonumber(redis.call('GET', clock) or '0')
if now <= last then now = last + 1 end
local stamp = string.format('%.0f', now)
redis.call('SET', clock, stamp)

redis.call('HSET', job, 'id', job_id, 'status', 'queued', 'shard', shard, 'submitted', stamp, unpack(ARGV, 7))
redis.call('ZADD', jobs, stamp, job_id)
redis.call('XADD', inbox, '*', 'job', job_id)
if redis.call('SET', bell, rung, 'NX', 'PX', ARGV[4]) then
  redis.call('SADD', shards, shard)
  return {'accepted', job_id, 1}
end
return {'accepted', job_id, 0}
