-- Records the outcomes of a batch's jobs and chunks and acknowledges their inbox entries: the only place where a job
-- ends.
--
-- KEYS  1 inbox   2 feed   3 delayed   4 dead letters   5 cancelling
--       next, for each outcome: its record, its job's record (the same, unless it is a chunk), its project's conflicts
-- ARGV  1 record TTL (s)   2 feed length   3 what the name of a job's channel begins with
--       4... two JSON documents for each outcome, see `Outcome.documents`
-- Returns {how many ended or were put aside, then the id and state of each batch job that ended with its last chunk}.
--
-- A record that is final already is left alone and only its entry acknowledged, so the script may run twice,
-- and of two readers that worked the same job the first one's word stands. That a job failed, or is to be tried
-- again, is only the latest attempt's to say, and once: for an earlier one, which may not know what the latest has
-- done, nothing is recorded, nor the entry acknowledged.
local inbox, feed, delayed, dead, cancelling = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local FIRST, FIRST_DOCUMENT = 6, 4
local MEMORY_ID, EVENT, VERSION = 1, 2, 3  -- places in what the feed is told of a change
local ttl, feed_length, channel = ARGV[1], ARGV[2], ARGV[3]
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000000 + time[2])
local open = {queued = true, retrying = true, running = true}
local ended, entries = {0}, {}
local somebody_cancels = redis.call('EXISTS', cancelling) == 1

-- What a newer attempt has settled, and so told the feed of, while the one that ends now did not know of it.
local function told_of(record)
  local told = {}
  for _, item in ipairs(cjson.decode(redis.call('HGET', record, 'settled') or '[]')) do
    if type(item) == 'table' and item.version then
      told[item.memory_id .. ':' .. string.format('%.0f', item.version)] = true
    end
  end
  return told
end

local function put_aside(record, outcome)
  local due = time[1] * 1000 + math.floor(time[2] / 1000) + outcome.due
  redis.call('HSET', record, 'status', 'retrying', 'next_attempt', string.format('%.0f', due * 1000))
  redis.call('HDEL', record, 'attempt_token')
  if outcome.error then redis.call('HSET', record, 'error', outcome.error) end
  if outcome.settled then redis.call('HSET', record, 'settled', outcome.settled) end
  if outcome.shard then redis.call('HSET', record, 'shard', outcome.shard) end
  if outcome.refund then redis.call('HINCRBY', record, 'attempts', -1) end
  redis.call('ZADD', delayed, string.format('%.0f', due), redis.call('HGET', record, 'shard') .. ':' .. outcome.job)
end

local function finish(record, outcome, results, is_weak)
  local set = {'status', outcome.status, 'finished', now, 'results', results}
  local gone = {'next_attempt', 'attempt_token', 'worker', 'settled', 'cancel'}
  local function keep(name, value)
    if value then set[#set + 1], set[#set + 2] = name, value else gone[#gone + 1] = name end
  end
  keep('error', outcome.error)
  if outcome.payload or not outcome.dead then keep('payload', outcome.dead and outcome.payload) end
  redis.call('HSET', record, unpack(set))
  redis.call('HDEL', record, unpack(gone))
  if outcome.dead then
    redis.call('ZADD', dead, now, outcome.job)  -- keeps its payload, for a replay, and therefore gets no TTL
  elseif is_weak then
    redis.call('DEL', record)
  else
    redis.call('EXPIRE', record, ttl)
  end
  if somebody_cancels then redis.call('SREM', cancelling, outcome.job) end
end

-- Adds an ended chunk to its job's account, and ends the job when it was the last one.
local function account(job, outcome)
  redis.call('HINCRBY', job, 'done', outcome.succeeded + outcome.failed)
  redis.call('HINCRBY', job, 'succeeded', outcome.succeeded)
  redis.call('HINCRBY', job, 'failed', outcome.failed)
  if outcome.dead then redis.call('HINCRBY', job, 'dead', 1) end
  if outcome.error then redis.call('HSETNX', job, 'error', outcome.error) end
  local left = redis.call('HINCRBY', job, 'open', -1)
  local all = redis.call('HMGET', job, 'sealed', 'succeeded', 'failed', 'dead', 'cancel', 'id', 'weak')
  if left > 0 or not all[1] then return end
  local status = 'partially_succeeded'
  if all[3] == '0' then status = 'succeeded'
  elseif all[2] == '0' then status = all[5] and 'cancelled' or 'failed' end
  redis.call('HSET', job, 'status', status, 'finished', now)
  if (all[4] or '0') == '0' then  -- one with dead chunks stays as long as they do: they are replayed through it
    if all[7] then redis.call('DEL', job) else redis.call('EXPIRE', job, ttl) end
  end
  redis.call('SREM', cancelling, all[6])
  redis.call('PUBLISH', channel .. all[6], status)
  ended[#ended + 1] = all[6]
  ended[#ended + 1] = status
end

for i = FIRST, #KEYS, 3 do
  local place = FIRST_DOCUMENT + (i - FIRST) / 3 * 2
  local outcome, results = cjson.decode(ARGV[place]), ARGV[place + 1]
  local record, job, conflicts = KEYS[i], KEYS[i + 1], KEYS[i + 2]
  local token, status, is_weak = unpack(redis.call('HMGET', record, 'attempt_token', 'status', 'weak'))
  local latest = outcome.attempt == token
  local overtaken = outcome.status ~= 'succeeded' and not latest
  if not overtaken and open[status] then
    local told = latest and {} or told_of(record)
    for _, change in ipairs(outcome.feed or {}) do
      if not told[change[MEMORY_ID] .. ':' .. change[VERSION]] then
        redis.call('XADD', feed, 'MAXLEN', '~', feed_length, '*', 'memory_id', change[MEMORY_ID],
          'project', outcome.project, 'event', change[EVENT], 'version', change[VERSION], 'job_id', outcome.of)
      end
    end
    for _, conflict in ipairs(outcome.disputed or {}) do redis.call('ZADD', conflicts, now, conflict) end
    for _, conflict in ipairs(outcome.resolved or {}) do redis.call('ZREM', conflicts, conflict) end
    if outcome.status == 'retrying' then
      put_aside(record, outcome)
    else
      finish(record, outcome, results, is_weak)
      if job ~= record then
        account(job, outcome)
      else
        redis.call('PUBLISH', channel .. outcome.job, outcome.status)
      end
    end
    ended[1] = ended[1] + 1
  end
  if not overtaken then entries[#entries + 1] = outcome.entry end
end
if #entries > 0 then
  redis.call('XACK', inbox, 'workers', unpack(entries))
  redis.call('XDEL', inbox, unpack(entries))
end
return ended
