-- Sets aside, for one chunk of a batch job, changes that lose content of one owner's memories.
--
-- Returns how many the chunk may make: those that it wants, or what the job's other chunks leave of the limit.
--
-- Safe to run twice: the chunk's share is set and never added.
--
-- It runs at the memory limit, as `store_plan.lua` does.
if not has_account(job) or not has_account(record) then return 0 end
local own = tonumber(redis.call('HGET', record, 'losses') or '') or 0
local others = math.max(0, (tonumber(redis.call('HGET', job, field) or '') or 0) - own)
local granted = math.max(0, math.min(wanted, most - others))
redis.call('HSET', record, 'losses', granted)
redis.call('HSET', job, field, others + granted)
return granted
