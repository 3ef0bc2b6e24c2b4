-- Gives one dead letter up: its payload goes, its record stays until it expires.
--
-- KEYS  1 record   2 its job's record (the same, unless it is a chunk)   3 dead letters
-- ARGV  1 record id   2 project   3 id of the run this discard belongs to   4 record TTL (s)
--       5 when the letter died, as the caller saw it (microseconds), or '' for whenever
-- Returns 'discarded', or the reason it was not: 'unknown' or the record's status.
--
-- Safe to run twice: the second run finds its own run in the record and only repeats the answer.
local record, job, dead = unpack(KEYS)
local record_id, project, run, ttl, died = unpack(ARGV)

local status, owner, discarded_by = unpack(redis.call('HMGET', record, 'status', 'project', 'discarded_by'))
if not status or owner ~= project then return 'unknown' end
if discarded_by == run then return 'discarded' end
local score = redis.call('ZSCORE', dead, record_id)
if not score or died ~= '' and tonumber(score) ~= tonumber(died) then return status end
redis.call('ZREM', dead, record_id)
redis.call('HDEL', record, 'payload')
redis.call('HSET', record, 'discarded_by', run)
redis.call('EXPIRE', record, ttl)
if job ~= record and redis.call('HINCRBY', job, 'dead', -1) == 0 and redis.call('HEXISTS', job, 'finished') == 1 then
  redis.call('EXPIRE', job, ttl)  -- it stayed for the sake of its dead chunks; one that runs on stays anyway
end
return 'discarded'
