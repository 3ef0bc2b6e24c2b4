-- Gives one dead letter up: its payload goes, its record stays until it expires.
--
-- Returns 'discarded', or the reason it was not: 'unknown' or the record's status.
--
-- Safe to run twice: the second run finds its own run in the record and only repeats the answer.
--
-- It runs at the memory limit: the payload goes.
local status, owner, discarded_by = unpack(fields_of(record, 'status', 'project', 'discarded_by'), 1, 3)
if not status or owner ~= project then return 'unknown' end
if discarded_by == run then return 'discarded' end
local score = failed_when(dead, unsorted_dead, record_id)
if not score or failed_at and tonumber(score) ~= failed_at then return status end
unlist_dead(dead, unsorted_dead, dead_projects, dead_of_prefix, record_id, record, project)
redis.call('HDEL', record, 'payload')
redis.call('HSET', record, 'discarded_by', run)
redis.call('EXPIRE', record, ttl)
if job ~= record and has_account(job) and count(job, 'dead', -1) == 0 and redis.call('HEXISTS', job, 'finished') == 1 then
  redis.call('EXPIRE', job, ttl)  -- it stayed for its dead chunks; one that runs on stays anyway
end
return 'discarded'
