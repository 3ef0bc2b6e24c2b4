-- Gives one dead letter up: its payload goes, its record stays until it expires.
--
-- KEYS  1 record   2 its job's record (the same, unless it is a chunk)   3 dead letters
-- ARGV  1 record id   2 project   3 record TTL (s)
-- Returns 'discarded', or the reason it was not: 'unknown' or the job's status.
local seen = redis.call('HMGET', KEYS[1], 'status', 'project')
if not seen[1] or seen[2] ~= ARGV[2] then return 'unknown' end
if redis.call('ZREM', KEYS[3], ARGV[1]) == 0 then return seen[1] end
redis.call('HDEL', KEYS[1], 'payload')
redis.call('EXPIRE', KEYS[1], ARGV[3])
if KEYS[2] ~= KEYS[1] and redis.call('HINCRBY', KEYS[2], 'dead', -1) == 0
    and redis.call('HEXISTS', KEYS[2], 'finished') == 1 then
  redis.call('EXPIRE', KEYS[2], ARGV[3])  -- it stayed for the sake of its dead chunks; one that runs on stays anyway
end
return 'discarded'
