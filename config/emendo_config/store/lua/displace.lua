-- Moves the value of a job's key that is no record aside, and begins a record in its place.
--
-- Returns 1, or 0 when there is a record: the script ran before. One step, so that no death loses the job.
--
-- It runs at the memory limit: the record is small, and its shard would stand still without it.
local kind = redis.call('TYPE', record).ok
if kind == 'hash' then return 0 end
if kind ~= 'none' then
  redis.call('RENAME', record, damaged)
  redis.call('EXPIRE', damaged, ttl)
end
redis.call('HSET', record, 'status', 'running', 'attempt_token', attempt)
return 1
