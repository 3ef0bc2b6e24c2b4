-- The circuit breaker that all workers share: asks for leave to call the provider, or reports how a call went.
--
-- Returns one of:
-- - 0: a call may be made.
-- - -1: a call may be made, and its success must be reported: there were failures, or this caller is the only probe.
-- - else how long to wait (ms).
--
-- It runs at the memory limit: the key is small and expires.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local state = redis.call('HMGET', breaker, 'until', 'probe', 'failures', 'pause')
local open_until, probe_until = tonumber(state[1]), tonumber(state[2])

if word == 'ok' then
  redis.call('DEL', breaker)
  return 0
end
if word == 'ask' then
  if not open_until then return state[3] and -1 or 0 end
  if now < open_until then return open_until - now end
  if probe_until and now < probe_until then return probe_until - now end
  redis.call('HSET', breaker, 'probe', string.format('%.0f', now + probe_ms))  -- half open: one caller probes
  return -1
end

local in_a_row = (tonumber(state[3]) or 0) + 1
redis.call('HSET', breaker, 'failures', in_a_row)
if open_until and now >= open_until or not open_until and in_a_row >= failures then
  local pause = math.min(longest_ms, (tonumber(state[4]) or pause_ms / 2) * 2)
  redis.call('HSET', breaker, 'until', string.format('%.0f', now + pause), 'pause', string.format('%.0f', pause))
  redis.call('HDEL', breaker, 'probe')
end
redis.call('PEXPIRE', breaker, 10 * longest_ms)
return 0
