-- Gives one dead letter up: its payload goes, its record stays until it expires.
--
-- KEYS  1 job record   2 dead letters
-- ARGV  1 job id   2 project   3 record TTL (s)
-- Returns 'discarded', or the reason it was not: 'unknown' or the job's status.
local record = redis.call('HMGET', KEYS[1], 'status', 'project')
if not record[1] or record[2] ~= ARGV[2] then return 'unknown' end
if redis.call('ZREM', KEYS[2], ARGV[1]) == 0 then return record[1] end
redis.call('HDEL', KEYS[1], 'payload')
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 'discarded'
