-- Corrects the pace by what the provider's answer to one call says.
--
-- KEYS  1 pace   2 mark of the call's reservation
-- ARGV  1 requests, 2 tokens a minute the provider tells of (0: none)
--       3 tokens used beyond what was reserved, as time at the limit (ms; negative gives back)
--       4 requests, 5 tokens that remain, as time at the limit (ms; '': it does not say, or there is no limit)
--       6 how long all workers pause (ms)   7, 8 one request, one token, as time at the limit (ms; 0: no limit)
--       9 how long the mark, 10 how long an idle pace is kept (ms)
--       11 share of the limits the caller's class may use (1: all of them)
-- Returns 1, or 0 when this answer has been learnt from before.
--
-- What remains can only lower the bucket, since calls under way are counted here and not there yet. After a pause the
-- bucket is empty but for one call: who was refused just now must not come back with a burst.
--
-- Run twice with one mark it learns once.
local pace, mark = KEYS[1], KEYS[2]
if redis.call('GET', mark) == 'told' then return 0 end
redis.call('SET', mark, 'told', 'PX', ARGV[9])
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local state = redis.call('HMGET', pace, 'requests', 'tokens', 'paused')
local spent = {tonumber(state[1]) or 0, (tonumber(state[2]) or 0) + ARGV[3]}
local pause = tonumber(ARGV[6])
local paused = math.max(tonumber(state[3]) or 0, pause > 0 and now + pause or 0)

for i, what in ipairs({'requests', 'tokens'}) do
  local remaining, unit = ARGV[3 + i], tonumber(ARGV[6 + i])
  if remaining ~= '' then spent[i] = math.max(spent[i], now - remaining) end
  if pause > 0 then spent[i] = math.max(spent[i], paused - unit) end
  redis.call('HSET', pace, what, string.format('%.4f', spent[i]), 'limit_' .. what, ARGV[i])
end
local share = tonumber(ARGV[11])
if share < 1 then
  local shared = (tonumber(redis.call('HGET', pace, 'shared_tokens')) or 0) + ARGV[3] / share
  redis.call('HSET', pace, 'shared_tokens', string.format('%.4f', shared))
end
if paused > now then redis.call('HSET', pace, 'paused', string.format('%.4f', paused)) end
local latest = math.max(now, paused, spent[1], spent[2])
redis.call('PEXPIRE', pace, string.format('%.0f', latest - now + ARGV[10]))
return 1
