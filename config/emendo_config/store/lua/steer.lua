-- Pauses the re-embedding that is under way, or lets it go on.
--
-- Returns its job's id, or false when none is under way. Safe to run twice.
--
-- It runs at the memory limit: one small field.
if redis.call('HEXISTS', migration, 'active') == 0 then return false end
if word == 'pause' then
  redis.call('HSET', migration, 'paused', 1)
else
  redis.call('HDEL', migration, 'paused')
end
if allow_missing then redis.call('HSET', migration, 'allow_missing', 1) end
return redis.call('HGET', migration, 'job')
