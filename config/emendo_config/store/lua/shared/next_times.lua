-- One clock for all submissions, strictly rising: of two submissions one is always newer, even if the clock of the
-- machine steps back. `next_times` takes `count` times, one microsecond apart; returns the first as text.
-- `coming_times` only looks: the caller sets the clock to the last one, its second result.
-- A damaged clock counts as none. No time is beyond the integers that Lua keeps apart, which end in the year 2255.
local function last_time(clock)
  local stored = redis.call('GET', clock) or ''
  local last = string.find(stored, '^%d+$') and tonumber(stored) or 0
  return last < 2 ^ 53 and last or 0
end
local function coming_times(clock, count)
  local time = redis.call('TIME')
  local now = time[1] * 1000000 + time[2]
  local last = last_time(clock)
  if now <= last then now = last + 1 end
  return string.format('%.0f', now), string.format('%.0f', now + count - 1)
end
local function next_times(clock, count)
  local first, last = coming_times(clock, count)
  redis.call('SET', clock, last)
  return first
end
