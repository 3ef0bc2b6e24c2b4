-- Lists an erasure that is about to be committed, so that housekeeping ends it if its worker dies.
--
-- Returns 1. Safe to run twice.
--
-- It runs at the memory limit: the entry is small, and the erasure frees more.
redis.call('ZADD', erasures, at, memory_id)
return 1
