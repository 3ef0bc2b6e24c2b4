-- Accepts chunks of one batch job: their records, inbox entries and bells in one step.
--
-- KEYS  1 job record   2 the project's jobs   3 clock   4 shards seen   5 accepting   6 idempotency record, or ''
--       then for each chunk: its record, inbox, bell
-- ARGV  1 job id   2 first call? (1 or 0)   3 seal: 'complete' or 'abandoned' in the last call, else ''; 'none' for
--       a job that ends by its own word, not with its last chunk
--       4 fingerprint   5 idempotency TTL (s)   6 ring TTL (ms)
--       two lists, each a count and then field, value pairs: of the job's record, of each chunk's record
--       then for each chunk: its id, shard, number of items, payload
-- Returns {'accepted', job id, shards to ring ...}, {'duplicate', first job id}, {'resume', first job id} (the same
-- request, whose caller broke off), {'conflict', first job id} or {'ended', job id} (given up for abandoned).
--
-- The job cannot end before its last call: only that one seals it. A chunk that is there already is left alone, so
-- the script may run twice, and a caller that broke off may go on under its idempotency key.
local job, jobs, clock, shards, accepting, idempotency = unpack(KEYS, 1, 6)
local job_id, is_first, seal = ARGV[1], ARGV[2] == '1', ARGV[3]
local time = redis.call('TIME')
local milliseconds = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))

local at = 7
local function take()
  local count = tonumber(ARGV[at])
  local from = at + 1
  at = from + count
  return from, at - 1
end
local job_from, job_to = take()
local chunk_from, chunk_to = take()

local status, sealed = unpack(redis.call('HMGET', job, 'status', 'sealed'))
if is_first and not status then
  if idempotency ~= '' then
    local held = redis.call('HMGET', idempotency, 'job_id', 'fingerprint')
    if held[1] and held[2] ~= ARGV[4] then return {'conflict', held[1]} end
    if held[1] then
      return {redis.call('ZSCORE', accepting, held[1]) and 'resume' or 'duplicate', held[1]}
    end
    redis.call('HSET', idempotency, 'job_id', job_id, 'fingerprint', ARGV[4])
    redis.call('EXPIRE', idempotency, ARGV[5])
  end
elseif not status or (sealed and redis.call('EXISTS', KEYS[7]) == 0) then
  return {'ended', job_id}
end

local function stamp(count)
  local now = time[1] * 1000000 + time[2]
  local last = tonumber(redis.call('GET', clock) or '0')
  if now <= last then now = last + 1 end
  redis.call('SET', clock, string.format('%.0f', now + count - 1))
  return string.format('%.0f', now)
end

local reply = {'accepted', job_id}
for i = 7, #KEYS, 3 do
  local record, inbox, bell = KEYS[i], KEYS[i + 1], KEYS[i + 2]
  local record_id, shard, items, payload = unpack(ARGV, at, at + 3)
  at = at + 4
  if redis.call('EXISTS', record) == 0 then
    local submitted = stamp(math.max(1, items))  -- one time for each item: which of two is newer is never a tie
    if not status then
      redis.call('HSET', job, 'id', job_id, 'status', 'queued', 'submitted', submitted, 'open', 0, 'done', 0,
        'succeeded', 0, 'failed', 0, unpack(ARGV, job_from, job_to))
      redis.call('ZADD', jobs, submitted, job_id)
      status = 'queued'
    end
    redis.call('HSET', record, 'id', record_id, 'status', 'queued', 'shard', shard, 'submitted', submitted,
      'items', items, 'payload', payload, unpack(ARGV, chunk_from, chunk_to))
    redis.call('HINCRBY', job, 'items', items)
    redis.call('HINCRBY', job, 'chunks', 1)
    redis.call('HINCRBY', job, 'open', 1)
    redis.call('XADD', inbox, '*', 'job', record_id)
    redis.call('SADD', shards, shard)
    if redis.call('SET', bell, 'rung:' .. record_id, 'NX', 'PX', ARGV[6]) then reply[#reply + 1] = shard end
  elseif redis.call('GET', bell) == 'rung:' .. record_id then
    reply[#reply + 1] = shard  -- said already, but the answer may have been lost
  end
end
if seal == 'complete' or seal == 'abandoned' then
  redis.call('HSET', job, 'sealed', seal)
  redis.call('ZREM', accepting, job_id)
elseif seal == '' then
  redis.call('ZADD', accepting, milliseconds, job_id)
end
return reply
