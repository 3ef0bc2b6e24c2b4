-- The sweeper's look at one shard: wakes it when jobs wait and no drain is coming.
--
-- Returns 1 when the caller must publish a drain. Many sweepers and clients may look at once: SET NX picks one.
--
-- It runs at the memory limit: the key is small and expires, and shards must be drained.
if redis.call('XLEN', inbox) == 0 then return 0 end
return redis.call('SET', wakeup, woken_by, 'NX', 'PX', wakeup_ttl_ms) and 1 or 0
