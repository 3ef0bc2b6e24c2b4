-- Ends a drain, or tells it to go on: the only place where a shard's wake-up key is given up.
--
-- Returns one of:
-- - 'silent': the inbox is empty, and the key is gone.
-- - 'more': read on.
-- - 'notify': publish a successor.
-- - 'lost': the lease ran out, and another drain may have the shard.
--
-- Seeing the inbox empty and deleting the key are one step. So a job accepted before it is seen here, and one
-- accepted after it finds no key and has a drain published.
--
-- It runs at the memory limit: it only writes a key that is there.
if redis.call('GET', wakeup) ~= owner then return 'lost' end
if redis.call('XLEN', inbox) == 0 then
  redis.call('DEL', wakeup)
  return 'silent'
end
if not over_budget then return 'more' end
redis.call('SET', wakeup, woken_by, 'PX', wakeup_ttl_ms)
return 'notify'
