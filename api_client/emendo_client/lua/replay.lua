-- Puts one dead letter back to work, under its own id, so that effects it already had stay single.
--
-- KEYS  1 record   2 its job's record (the same, unless it is a chunk)   3 dead letters   4 the shard's inbox
--       5 the shard's bell   6 shards seen
-- ARGV  1 record id   2 project   3 ring id   4 ring TTL (ms)   5 shard
-- Returns {'queued', ring? (1 or 0)}, or {the reason it was not, 0}: 'unknown' or the job's status.
--
-- Items that succeeded stay settled; a batch job takes the chunk out of its account and is open again.
local record, job = KEYS[1], KEYS[2]
local seen = redis.call('HMGET', record, 'status', 'project', 'results')
if not seen[1] or seen[2] ~= ARGV[2] then return {'unknown', 0} end
if redis.call('ZREM', KEYS[3], ARGV[1]) == 0 then return {seen[1], 0} end

local items = cjson.decode(seen[3] or '[]')
local failed = 0
for i, item in ipairs(items) do
  if type(item.error) == 'table' then
    items[i] = cjson.null
    failed = failed + 1
  end
end
redis.call('HSET', record, 'status', 'queued', 'attempts', 0)
redis.call('HDEL', record, 'finished', 'error', 'results', 'next_attempt', 'attempt_token')
if #items > failed then redis.call('HSET', record, 'settled', cjson.encode(items)) end
redis.call('PERSIST', record)
if job ~= record then
  redis.call('HINCRBY', job, 'open', 1)
  redis.call('HINCRBY', job, 'dead', -1)
  redis.call('HINCRBY', job, 'failed', -failed)
  redis.call('HINCRBY', job, 'succeeded', failed - #items)
  redis.call('HINCRBY', job, 'done', -#items)
  if redis.call('HEXISTS', job, 'finished') == 1 then
    redis.call('HDEL', job, 'cancel')  -- it was obeyed when the job ended; the replay was asked for later
  end
  redis.call('HSET', job, 'status', 'running')
  redis.call('HDEL', job, 'finished', 'error')
  redis.call('PERSIST', job)
end
redis.call('XADD', KEYS[4], '*', 'job', ARGV[1])
redis.call('SADD', KEYS[6], ARGV[5])
return {'queued', redis.call('SET', KEYS[5], 'rung:' .. ARGV[3], 'NX', 'PX', ARGV[4]) and 1 or 0}
