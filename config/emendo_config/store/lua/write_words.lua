-- Gives one memory the words that full-text search looks for, if its text is still the one that they were taken from.
--
-- Returns 1, or 0 when the text is another by now, or gone.
--
-- The memory's version and history stay as they are. A second run writes the same again.
--
-- At the memory limit Redis refuses it: it adds a field, and housekeeping tries again.
if redis.call('HGET', memory, 'hash') ~= text_hash then return 0 end
redis.call('HSET', memory, field, words)
return 1
