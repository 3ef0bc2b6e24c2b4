-- The sweeper's look at one shard: rings when jobs wait and nobody is coming.
--
-- KEYS  1 bell   2 inbox
-- ARGV  1 ring id   2 ring TTL (ms)
-- Returns 1 when the caller must publish a drain. Many sweepers and clients may look at once: SET NX picks one.
if redis.call('XLEN', KEYS[2]) == 0 then return 0 end
return redis.call('SET', KEYS[1], 'rung:' .. ARGV[1], 'NX', 'PX', ARGV[2]) and 1 or 0
