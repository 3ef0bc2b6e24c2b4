-- Tells `accept.lua` and `append.lua` whether a Redis has reached its watermark.
--
-- Returns 1. Safe to run twice. The key expires: without workers nobody looks at the memory, and only Redis's own limit
-- refuses requests.
--
-- It runs at the memory limit: the key is small and expires.
if is_full then
  redis.call('SET', full, '1', 'PX', ttl_ms)
else
  redis.call('DEL', full)
end
return 1
