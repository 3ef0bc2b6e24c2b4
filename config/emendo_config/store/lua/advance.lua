-- Moves the re-embedding on, if no other caller did since its state was read.
--
-- Returns 1, or 0 when another caller was faster; then nothing was changed.
--
-- The step and its entry of the feed are one, so followers read it once. A second run changes nothing.
--
-- It runs at the memory limit: a re-embedding can be paused, cancelled and ended there.
local job, read = unpack(redis.call('HMGET', migration, 'job', 'revision'))
if job ~= job_id or read ~= revision then return 0 end
redis.call('XLEN', feed)  -- fails where the write below would

if fields_from <= fields_to then redis.call('HSET', migration, unpack(ARGV, fields_from, fields_to)) end
if removed_from <= removed_to then redis.call('HDEL', migration, unpack(ARGV, removed_from, removed_to)) end
if feed_entry_from <= feed_entry_to then
  redis.call('XADD', feed, 'MAXLEN', '~', feed_length, '*', unpack(ARGV, feed_entry_from, feed_entry_to))
end
redis.call('HINCRBY', migration, 'revision', 1)
if is_over then
  redis.call('HDEL', migration, 'active')
  redis.call('EXPIRE', migration, ttl)
  redis.call('EXPIRE', failures, ttl)
end
return 1
