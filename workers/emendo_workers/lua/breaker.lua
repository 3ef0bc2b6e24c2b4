-- The circuit breaker all workers share: asks for leave to call the provider, or reports how a call went.
--
-- KEYS  1 breaker
-- ARGV  1 'ask', 'ok' or 'failed'   2 failures in a row that open it   3 first pause (ms)   4 longest pause (ms)
--       5 how long a probe may take (ms)
-- Returns 0 when a call may be made, -1 when it may and its success is to be reported (there were failures; half
-- open: this caller alone may call), else how long to wait (ms).
local key, word = KEYS[1], ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local state = redis.call('HMGET', key, 'until', 'probe', 'failures', 'pause')
local open_until, probe_until = tonumber(state[1]), tonumber(state[2])

if word == 'ok' then
  redis.call('DEL', key)
  return 0
end
if word == 'ask' then
  if not open_until then return state[3] and -1 or 0 end
  if now < open_until then return open_until - now end
  if probe_until and now < probe_until then return probe_until - now end
  redis.call('HSET', key, 'probe', string.format('%.0f', now + ARGV[5]))  -- half open: one caller probes
  return -1
end

local failures = (tonumber(state[3]) or 0) + 1
redis.call('HSET', key, 'failures', failures)
if open_until and now >= open_until or not open_until and failures >= tonumber(ARGV[2]) then
  local pause = math.min(tonumber(ARGV[4]), (tonumber(state[4]) or tonumber(ARGV[3]) / 2) * 2)
  redis.call('HSET', key, 'until', string.format('%.0f', now + pause), 'pause', string.format('%.0f', pause))
  redis.call('HDEL', key, 'probe')
end
redis.call('PEXPIRE', key, 10 * tonumber(ARGV[4]))
return 0
