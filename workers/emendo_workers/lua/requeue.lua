-- Returns one delayed job to its inbox when its time has come.
--
-- KEYS  1 delayed   2 inbox   3 bell   4 shards seen
-- ARGV  1 member (`<shard>:<job id>`)   2 job id   3 shard   4 ring id   5 ring TTL (ms)
-- Returns 1 when the caller must publish a drain. Of many sweepers the one whose ZREM removes it requeues it.
if redis.call('ZREM', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('XADD', KEYS[2], '*', 'job', ARGV[2])
redis.call('SADD', KEYS[4], ARGV[3])
return redis.call('SET', KEYS[3], 'rung:' .. ARGV[4], 'NX', 'PX', ARGV[5]) and 1 or 0
