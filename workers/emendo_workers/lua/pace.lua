-- Reserves one provider request and its tokens for the caller, when its turn comes soon; over all workers.
--
-- KEYS  1 pace   2 mark of this reservation   3 breaker
-- ARGV  1 requests, 2 tokens a minute by the settings (0: no limit)   3 tokens to reserve   4 longest wait worth a
--       reservation (ms)   5 burst (ms)   6 how long the mark, 7 how long an idle pace is kept (ms)
--       8 share of the limits this class of callers may use (1: all of them)
-- Returns {how long to wait (ms), 1 when reserved, requests, tokens a minute the provider last told of (0: none)}.
-- A wait above ARGV 4 means: nothing is reserved, come back then.
--
-- A token bucket, kept as time (GCRA): for each limit, the moment up to which what the minutes bring is spent. What was
-- not spent is kept for at most the burst. A call may go when the bucket holds one unit; what it takes beyond that is
-- owed, and the next callers wait for it. So a call larger than the bucket passes, and many small ones cannot keep a
-- large one waiting. Over any stretch of time T no more goes out than T and the burst bring, plus one call's tokens.
--
-- Callers that may use a share of the limits keep to a second bucket that fills that much slower, and leave room: they
-- wait until the first one holds what they take and, beyond that, the others' share of it. So whoever may use all of it
-- never waits for what they took, but for a single call larger than that.
--
-- Run twice with one mark it reserves once.
local pace, mark, breaker = KEYS[1], KEYS[2], KEYS[3]
local longest, burst, share = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[8])
local costs = {requests = 1, tokens = tonumber(ARGV[3])}
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local state = redis.call('HMGET', pace, 'limit_requests', 'limit_tokens', 'requests', 'tokens', 'paused',
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

local before = redis.call('GET', mark)
if before then return answer(tonumber(before) or now, 1) end

local turn = math.max(now, tonumber(state[5]) or 0)
local units = {}  -- one request, one token, as time at the limit
-- A provider that is left alone gets one probe at most, which must not fail for want of allowance.
if redis.call('HEXISTS', breaker, 'until') == 0 then
  for what, setting in pairs({requests = tonumber(ARGV[1]), tokens = tonumber(ARGV[2])}) do
    local limit = lower(setting, told[what])
    if limit > 0 then
      local unit = 60000 / limit
      units[what] = unit
      if share < 1 then
        local room = math.min(costs[what] * unit + (1 - share) * burst, math.max(burst, unit))
        turn = math.max(turn, spent[what] + room, shared[what] + unit / share)
      else
        turn = math.max(turn, spent[what] + unit)
      end
    end
  end
end
if not next(units) or turn - now > longest then return answer(turn, 0) end

local latest = now
local function spend(name, before, cost, unit)
  local to = math.max(before, turn - math.max(burst, unit)) + cost * unit
  latest = math.max(latest, to)
  redis.call('HSET', pace, name, string.format('%.4f', to))
end
for what, unit in pairs(units) do
  spend(what, spent[what], costs[what], unit)
  if share < 1 then spend('shared_' .. what, shared[what], costs[what], unit / share) end
end
redis.call('PEXPIRE', pace, string.format('%.0f', latest - now + ARGV[7]))
redis.call('SET', mark, string.format('%.4f', turn), 'PX', ARGV[6])
return answer(turn, 1)
