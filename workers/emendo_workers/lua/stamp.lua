-- Takes submission times for changes that a worker makes of its own accord.
--
-- KEYS  1 clock
-- ARGV  1 how many
-- Returns the first; the others follow it, one microsecond apart. Newer than every submission so far, as in
-- accept.lua. Run twice it leaves a gap, which nobody minds.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local last = tonumber(redis.call('GET', KEYS[1]) or '0')
if now <= last then now = last + 1 end
redis.call('SET', KEYS[1], string.format('%.0f', now + ARGV[1] - 1))
return string.format('%.0f', now)
