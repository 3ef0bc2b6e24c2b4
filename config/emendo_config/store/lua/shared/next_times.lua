-- One clock for all submissions, strictly rising: of two submissions one is always newer, even if the clock of the
-- machine steps back. `next_times` takes `count` times, one microsecond apart; returns the first as text.
-- `coming_times` only looks: the caller sets the clock to the last one, its second result.
local function coming_times(clock, count)
  local time = redis.call('TIME')
  local now = time[1] * 1000000 + time[2]
  local last = tonumber(redis.call('GET', clock) or '0') or 0
  if now <= last then now = last + 1 end
  return string.format('%.0f', now), string.format('%.0f', now + count - 1)
end
local function next_times(clock, count)
  local first, last = coming_times(clock, count)
  redis.call('SET', clock, last)
  return first
end
