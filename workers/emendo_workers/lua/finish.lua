-- Records the outcome of a batch's jobs and acknowledges their inbox entries: the only place where a job ends.
--
-- KEYS  1 inbox   2 feed   3 delayed   4 dead letters   5 cancelling   6... job records
-- ARGV  1 record TTL (s)   2 feed length   3... one JSON document for each record:
--       {job, entry, status, error, results, due, refund, channel, feed: [[field, value, ...], ...]}
-- Returns how many jobs this call ended or put aside.
--
-- A record that is final already is left alone and only its entry acknowledged, so the script may run twice,
-- and of two readers that worked the same job the first one's word stands.
local inbox, feed, delayed, dead, cancelling = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local ttl, feed_length = ARGV[1], ARGV[2]
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000000 + time[2])
local open = {queued = true, retrying = true, running = true}
local recorded = 0

local function put_aside(record, outcome)
  local due = time[1] * 1000 + math.floor(time[2] / 1000) + outcome.due
  redis.call('HSET', record, 'status', 'retrying', 'next_attempt', string.format('%.0f', due * 1000))
  if outcome.error then redis.call('HSET', record, 'error', outcome.error) end
  if outcome.refund then redis.call('HINCRBY', record, 'attempts', -1) end
  redis.call('ZADD', delayed, string.format('%.0f', due), redis.call('HGET', record, 'shard') .. ':' .. outcome.job)
end

local function finish(record, outcome)
  redis.call('HSET', record, 'status', outcome.status, 'finished', now, 'results', outcome.results)
  redis.call('HDEL', record, 'next_attempt', 'attempt_token', 'worker', 'error')
  if outcome.error then redis.call('HSET', record, 'error', outcome.error) end
  for _, change in ipairs(outcome.feed) do
    redis.call('XADD', feed, 'MAXLEN', '~', feed_length, '*', unpack(change))
  end
  if outcome.status == 'failed' then
    redis.call('ZADD', dead, now, outcome.job)  -- keeps its payload, for a replay, and therefore gets no TTL
  elseif redis.call('HGET', record, 'weak') then
    redis.call('DEL', record)
  else
    redis.call('HDEL', record, 'payload')
    redis.call('EXPIRE', record, ttl)
  end
  redis.call('SREM', cancelling, outcome.job)
  redis.call('PUBLISH', outcome.channel, outcome.status)
end

for i = 6, #KEYS do
  local outcome = cjson.decode(ARGV[i - 3])
  if open[redis.call('HGET', KEYS[i], 'status')] then
    if outcome.status == 'retrying' then put_aside(KEYS[i], outcome) else finish(KEYS[i], outcome) end
    recorded = recorded + 1
  end
  redis.call('XACK', inbox, 'workers', outcome.entry)
  redis.call('XDEL', inbox, outcome.entry)
end
return recorded
