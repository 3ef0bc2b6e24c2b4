-- Corrects a provider's rate limit by its answer to one call.
--
-- Returns 1, or 0 when this answer was learnt from before: with one reservation, a second run changes nothing.
--
-- The provider's remaining allowance can only lower the bucket: it does not know the calls under way. After a pause the
-- bucket is empty but for one call, because a caller that was refused must not come back with a burst.
--
-- It runs at the memory limit: a provider's answer must not be lost, and the key expires.
if redis.call('GET', reservation) == 'told' then return 0 end
redis.call('SET', reservation, 'told', 'PX', reservation_ttl_ms)
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local state = redis.call('HMGET', rate_limit, 'requests', 'tokens', 'paused')
local paused = math.max(tonumber(state[3]) or 0, pause_ms > 0 and now + pause_ms or 0)

local function correct(name, spent, limit, left, unit)
  if left then spent = math.max(spent, now - left) end
  if pause_ms > 0 then spent = math.max(spent, paused - unit) end
  redis.call('HSET', rate_limit, name, string.format('%.4f', spent), 'limit_' .. name, string.format('%.0f', limit))
  return spent
end
local requests = correct('requests', tonumber(state[1]) or 0, request_limit, requests_left_ms, request_ms)
local tokens = correct('tokens', (tonumber(state[2]) or 0) + overrun_ms, token_limit, tokens_left_ms, token_ms)
if share < 1 then
  local shared = (tonumber(redis.call('HGET', rate_limit, 'shared_tokens')) or 0) + overrun_ms / share
  redis.call('HSET', rate_limit, 'shared_tokens', string.format('%.4f', shared))
end
if paused > now then redis.call('HSET', rate_limit, 'paused', string.format('%.4f', paused)) end
local latest = math.max(now, paused, requests, tokens)
redis.call('PEXPIRE', rate_limit, string.format('%.0f', latest - now + idle_ttl_ms))
return 1
