-- Accepts chunks of one batch job: their records, inbox entries and wake-up keys in one step.
--
-- Returns one of:
-- - {'accepted', job id, shards to notify ...}
-- - {'duplicate', first job id}, {'conflict', first job id}: another request under the same idempotency key
-- - {'resume', first job id}: the same request, whose caller broke off
-- - {'full', job id}: a Redis has reached its watermark; the call may be repeated
-- - {'ended', job id}: the job was given up as abandoned
-- - {'refused', how many jobs and chunks of the project are open}: with these chunks they would exceed the quota
--
-- The job cannot end before its last call, because only that one seals it. A chunk that is there already is left alone.
-- So the script may run twice, and a caller that broke off may go on under its idempotency key.
--
-- At the memory limit Redis refuses it, except for requests that only erase or that close the job.
local is_full = full ~= '' and redis.call('EXISTS', full) == 1
use_windows(windows_from, windows_to)
local status, sealed = unpack(redis.call('HMGET', job, 'status', 'sealed'))
if not status and redis.call('EXISTS', weak_sealed) == 1 then return {'accepted', job_id} end
if is_first and not status then
  if idempotency ~= '' then
    local held = redis.call('HMGET', idempotency, 'job_id', 'fingerprint')
    if held[1] and held[2] ~= fingerprint then return {'conflict', held[1]} end
    if held[1] then
      return {redis.call('ZSCORE', accepting, held[1]) and 'resume' or 'duplicate', held[1]}
    end
  end
elseif not status or (sealed and redis.call('EXISTS', KEYS[chunks_first_key]) == 0) then
  return {'ended', job_id}
end
if is_full and redis.call('EXISTS', KEYS[chunks_first_key]) == 0 then return {'full', job_id} end

-- Reads that fail where the writes below would: a key of another type leaves nothing half done.
redis.call('ZCARD', jobs)
redis.call('SCARD', shards)
redis.call('ZCARD', accepting)
redis.call('STRLEN', clock)
if open_jobs ~= '' then redis.call('ZCARD', open_jobs) end
local new = 0
for key = chunks_first_key, #KEYS, KEYS_OF_CHUNK do
  if redis.call('HLEN', KEYS[key]) == 0 then new = new + 1 end
  redis.call('XLEN', KEYS[key + 1])
end
local count = new > 0 and open_jobs ~= '' and beyond_quota(open_jobs, new, max_open)
if count then return {'refused', tostring(count)} end
local is_new = is_first and not status

local reply = {'accepted', job_id}
for chunk, inbox, wakeup, chunk_id, shard, woken_by, lane, items, payload in chunks do
  if redis.call('EXISTS', chunk) == 0 then
    guard_window(lane, project)  -- all chunks of a job have one lane
    local submitted = next_times(clock, math.max(1, items))  -- a time for each item: one of two is always newer
    if not status then
      redis.call('HSET', job, 'id', job_id, 'status', 'queued', 'submitted', submitted, 'open', 0, 'done', 0,
        'succeeded', 0, 'failed', 0, unpack(ARGV, job_fields_from, job_fields_to))
      redis.call('ZADD', jobs, submitted, job_id)
      status = 'queued'
    end
    redis.call('HSET', chunk, 'id', chunk_id, 'status', 'queued', 'shard', shard, 'submitted', submitted,
      'items', items, 'payload', payload, unpack(ARGV, chunk_fields_from, chunk_fields_to))
    redis.call('HINCRBY', job, 'items', items)
    redis.call('HINCRBY', job, 'chunks', 1)
    redis.call('HINCRBY', job, 'open', 1)
    if lane ~= '' then redis.call('HSET', chunk, 'lane', lane) end
    if open_jobs ~= '' then
      redis.call('ZADD', open_jobs, submitted, chunk_id)
      redis.call('EXPIRE', open_jobs, open_ttl)
    end
    if enters_window(lane, project, shard, chunk_id) then
      local emptier = emptiest(lane, shard)
      if emptier ~= shard then
        shard, inbox, wakeup = emptier, inbox_prefix .. emptier, wakeup_prefix .. emptier
        redis.call('HSET', chunk, 'shard', shard)
      end
      redis.call('XADD', inbox, '*', 'job', chunk_id)
      redis.call('SADD', shards, shard)
      if redis.call('SET', wakeup, woken_by, 'NX', 'PX', wakeup_ttl_ms) then reply[#reply + 1] = shard end
    end
  else
    local taken = has_windows and redis.call('HGET', chunk, 'shard') or shard
    local bell = taken == shard and wakeup or wakeup_prefix .. taken
    -- The first answer may have been lost.
    if allowed(redis.pcall('GET', bell)) == woken_by then reply[#reply + 1] = taken end
  end
end
if is_new and idempotency ~= '' then
  redis.call('HSET', idempotency, 'job_id', job_id, 'fingerprint', fingerprint)
  redis.call('EXPIRE', idempotency, idempotency_ttl)
end
if seal == 'complete' or seal == 'abandoned' then
  redis.call('HSET', job, 'sealed', seal)
  -- The record of a weak job goes with its end, and this call may be repeated after that.
  if seal == 'complete' and redis.call('HEXISTS', job, 'weak') == 1 then
    redis.call('SET', weak_sealed, '1', 'EX', SEALED_TTL)
  end
  redis.call('ZREM', accepting, job_id)
elseif seal == '' then
  local time = redis.call('TIME')
  redis.call('ZADD', accepting, string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)), job_id)
end
return reply
