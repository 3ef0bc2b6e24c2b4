-- Pauses the re-embedding that is under way, or lets it go on.
--
-- KEYS  1 migration
-- ARGV  1 pause or resume   2 switch although memories lack their vectors? (1 or 0)
-- Returns its job's id, or false when none is under way.
--
-- Safe to run twice.
if redis.call('HEXISTS', KEYS[1], 'active') == 0 then return false end
if ARGV[1] == 'pause' then
  redis.call('HSET', KEYS[1], 'paused', 1)
else
  redis.call('HDEL', KEYS[1], 'paused')
end
if ARGV[2] == '1' then redis.call('HSET', KEYS[1], 'allow_missing', 1) end
return redis.call('HGET', KEYS[1], 'job')
