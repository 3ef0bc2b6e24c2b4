-- Returns one delayed job to its inbox when its time has come.
--
-- Returns 1 when the caller must publish a drain. Of many sweepers, the one that removes the member requeues the job.
--
-- It runs at the memory limit: an entry moves from one list to another, so that a waiting erasure comes back.
redis.call('XLEN', inbox)  -- these two fail where the writes below would, and leave the entry where it is
redis.call('SCARD', shards)
if not redis.call('ZSCORE', delayed, member) then return 0 end
redis.call('XADD', inbox, '*', 'job', record_id)  -- first: a user who may not do it loses no job
redis.call('ZREM', delayed, member)
redis.call('SADD', shards, shard)
return redis.call('SET', wakeup, woken_by, 'NX', 'PX', wakeup_ttl_ms) and 1 or 0
