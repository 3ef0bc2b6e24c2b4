-- Moves a dead letter from the list of all projects, which earlier releases keep, to its project's list and the index.
--
-- Returns 1 when it was moved. One that was replayed or discarded meanwhile is left alone.
--
-- It runs at the memory limit: a dead letter moves from one list to another.
local score = redis.call('ZSCORE', unsorted_dead, record_id)
if not score then return 0 end
-- Reads that fail where the writes below would: a key of another type leaves nothing half done.
redis.call('ZCARD', dead)
redis.call('SCARD', dead_projects)
redis.call('HLEN', record)
local indexed = {}
for key in dead_of do
  redis.call('SCARD', key)
  indexed[#indexed + 1] = key
end
redis.call('ZREM', unsorted_dead, record_id)
if redis.call('EXISTS', record) == 0 then return 0 end
redis.call('ZADD', dead, score, record_id)
redis.call('SADD', dead_projects, project)
for _, key in ipairs(indexed) do redis.call('SADD', key, record_id) end
redis.call('HSET', record, 'dead_of', memories)
return 1
