-- Puts one dead letter back to work, under its own id, so that effects it already had stay single.
--
-- KEYS  1 record   2 its job's record (the same, unless it is a chunk)   3 dead letters   4 the shard's inbox
--       5 the shard's bell   6 shards seen
-- ARGV  1 record id   2 project   3 id of the run this replay belongs to   4 ring id   5 ring TTL (ms)   6 shard
--       7 when the letter died, as the caller saw it (microseconds), or '' for whenever
-- Returns {'replayed', ring? (1 or 0)}, or {the reason it was not, 0}: 'unknown' or the record's status.
--
-- Items that succeeded stay settled; a batch job takes the chunk out of its account and is open again.
-- One run replays a letter once, however often it asks and whatever the clock does: the record names the run.
-- Of two runs one wins; the other finds no letter, or one that died at another time, and leaves it alone.
-- So the script may run twice: the second run finds its own run in the record and only repeats the answer.
local record, job, dead, inbox, bell, shards = unpack(KEYS)
local record_id, project, run, ring_id, ring_ttl, shard, died = unpack(ARGV)
local rung = 'rung:' .. ring_id

local function reopen(failed, total)
  redis.call('HINCRBY', job, 'open', 1)
  redis.call('HINCRBY', job, 'dead', -1)
  redis.call('HINCRBY', job, 'failed', -failed)
  redis.call('HINCRBY', job, 'succeeded', failed - total)
  redis.call('HINCRBY', job, 'done', -total)
  if redis.call('HEXISTS', job, 'finished') == 1 then
    redis.call('HDEL', job, 'cancel')  -- it was obeyed when the job ended; the replay was asked for later
  end
  redis.call('HSET', job, 'status', 'running')
  redis.call('HDEL', job, 'finished', 'error')
  redis.call('PERSIST', job)
end

local function replay(results)
  local items = cjson.decode(results or '[]')
  local failed = 0
  for i, item in ipairs(items) do
    if type(item.error) == 'table' then
      items[i] = cjson.null
      failed = failed + 1
    end
  end
  redis.call('ZREM', dead, record_id)
  redis.call('HSET', record, 'status', 'queued', 'attempts', 0, 'replayed_by', run)
  redis.call('HDEL', record, 'finished', 'error', 'results', 'next_attempt', 'attempt_token')
  if #items > failed then redis.call('HSET', record, 'settled', cjson.encode(items)) end
  redis.call('PERSIST', record)
  if job ~= record then reopen(failed, #items) end
  redis.call('XADD', inbox, '*', 'job', record_id)
  redis.call('SADD', shards, shard)
  redis.call('SET', bell, rung, 'NX', 'PX', ring_ttl)
end

local status, owner, replayed_by, results = unpack(redis.call('HMGET', record, 'status', 'project', 'replayed_by', 'results'))
if not status or owner ~= project then return {'unknown', 0} end
if replayed_by ~= run then
  local score = redis.call('ZSCORE', dead, record_id)
  if not score or died ~= '' and tonumber(score) ~= tonumber(died) then return {status, 0} end
  replay(results)
end
-- Letters of one shard share a ring: whichever of them found it silent, each says that the caller is to ring.
return {'replayed', redis.call('GET', bell) == rung and 1 or 0}
