-- Puts one page of an imported history aside, where no reader looks, so that no step holds Redis up for long.
--
-- Returns how many entries are aside. `position` is how many there should be before. A second run finds more and adds
-- nothing. An import that breaks off leaves them for an hour at most.
--
-- At the memory limit Redis refuses it, and the import waits for room.
local count = redis.call('XLEN', staged)
if count ~= position then return count end
add_entries(staged, entries_from, entries_to)
redis.call('EXPIRE', staged, ttl)
return redis.call('XLEN', staged)
