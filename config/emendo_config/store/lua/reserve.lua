-- Reserves one provider request and its tokens for the caller, when its turn comes soon; over all workers.
--
-- Returns {how long to wait (ms), 1 when reserved, requests, tokens a minute as the provider last told (0: none)}.
-- If the wait is above `longest_ms`, nothing is reserved, and the caller comes back later.
--
-- This is a token bucket, kept as time (GCRA). Each limit has the moment up to which its allowance is spent. Unspent
-- allowance is kept for at most the burst. A call may go when the bucket holds one unit. It owes the rest, and the next
-- callers wait for that. So a call larger than the bucket passes, and small calls cannot starve a large one. In any
-- time T no more goes out than T and the burst bring, plus one call's tokens.
--
-- Callers with a share of the limits have a second bucket, which fills that much slower. They also leave room: they
-- wait until the first bucket holds their call and the others' share besides. So a caller with all of the limits waits
-- for them only after a single call that is larger than that.
--
-- A second run with the same reservation reserves nothing more.
--
-- It runs at the memory limit: the keys are small and expire.
local costs = {requests = 1, tokens = tokens}
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local state = redis.call('HMGET', rate_limit, 'limit_requests', 'limit_tokens', 'requests', 'tokens', 'paused',
  'shared_requests', 'shared_tokens')
local told = {requests = tonumber(state[1]) or 0, tokens = tonumber(state[2]) or 0}
local spent = {requests = tonumber(state[3]) or 0, tokens = tonumber(state[4]) or 0}
local shared = {requests = tonumber(state[6]) or 0, tokens = tonumber(state[7]) or 0}

local function answer(turn, reserved)
  return {math.ceil(math.max(0, turn - now)), reserved, told.requests, told.tokens}
end

local function lower(one, other)
  return (one == 0 or other == 0) and math.max(one, other) or math.min(one, other)
end

local before = redis.call('GET', reservation)
if before then return answer(tonumber(before) or now, 1) end

local turn = math.max(now, tonumber(state[5]) or 0)
local units = {}  -- one request, one token, as time at the limit
-- While the breaker is open there is one probe at most, which must not fail because the allowance is used up.
if redis.call('HEXISTS', breaker, 'until') == 0 then
  for what, setting in pairs({requests = request_limit, tokens = token_limit}) do
    local limit = lower(setting, told[what])
    if limit > 0 then
      local unit = 60000 / limit
      units[what] = unit
      if share < 1 then
        local room = math.min(costs[what] * unit + (1 - share) * burst_ms, math.max(burst_ms, unit))
        turn = math.max(turn, spent[what] + room, shared[what] + unit / share)
      else
        turn = math.max(turn, spent[what] + unit)
      end
    end
  end
end
if not next(units) or turn - now > longest_ms then return answer(turn, 0) end

local latest = now
local function spend(name, before, cost, unit)
  local to = math.max(before, turn - math.max(burst_ms, unit)) + cost * unit
  latest = math.max(latest, to)
  redis.call('HSET', rate_limit, name, string.format('%.4f', to))
end
for what, unit in pairs(units) do
  spend(what, spent[what], costs[what], unit)
  if share < 1 then spend('shared_' .. what, shared[what], costs[what], unit / share) end
end
redis.call('PEXPIRE', rate_limit, string.format('%.0f', latest - now + idle_ttl_ms))
redis.call('SET', reservation, string.format('%.4f', turn), 'PX', reservation_ttl_ms)
return answer(turn, 1)
