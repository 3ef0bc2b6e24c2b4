-- Puts an entry of an inbox among the delayed jobs, whatever its record is like; the sweeper returns it.
--
-- Returns 1. Safe to run twice.
--
-- It runs at the memory limit: an entry moves from one list to another, or its shard would stand still.
redis.call('XLEN', inbox)  -- fails where the writes below would
redis.call('ZADD', delayed, due_ms, member)
redis.call('XACK', inbox, group, entry_id)
redis.call('XDEL', inbox, entry_id)
return 1
