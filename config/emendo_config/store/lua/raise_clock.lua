-- Brings the clock of submissions up to a time that a memory already knows, so that the next submission is newer.
--
-- Returns 1 when the clock was behind. It never sets it back, so a second run changes nothing.
--
-- It runs at the memory limit: the key is small, and without it changes would be taken for late ones.
if last_time(clock) >= newest then return 0 end
redis.call('SET', clock, string.format('%.0f', newest))
return 1
