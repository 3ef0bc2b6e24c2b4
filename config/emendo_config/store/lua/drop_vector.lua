-- Takes one embedding space's vector from a memory.
--
-- Returns 1 when there was something of the space, else 0: a second run finds nothing.
--
-- The memory's version and history stay as they are. A commit that was based on the longer list of spaces finds it
-- changed, and is stale.
--
-- It runs at the memory limit: a vector goes.
local listed = redis.call('HGET', memory, 'embedding_space')
local removed = redis.call('HDEL', memory, field)
local names, was_listed = listed_without(listed, space)
if removed == 0 and not was_listed then return 0 end
if #names > 0 then
  local models = model ~= '' and {'embedding_model', model} or {}
  redis.call('HSET', memory, 'embedding_space', spaces_value(names), unpack(models))
elseif listed then
  redis.call('HDEL', memory, 'embedding_space', 'embedding_model')
end
return 1
