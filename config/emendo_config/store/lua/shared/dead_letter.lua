-- When a dead letter failed, by its project's list or by the one that earlier releases keep; false when it is none.
local function failed_when(dead, unsorted_dead, record_id)
  return redis.call('ZSCORE', dead, record_id) or redis.call('ZSCORE', unsorted_dead, record_id)
end

-- The memories in whose index a dead letter stands. It fails where `unlist_dead` would: on a key of another type.
local function listed_memories(dead, unsorted_dead, dead_projects, dead_of_prefix, record)
  redis.call('ZCARD', dead)
  redis.call('ZCARD', unsorted_dead)
  redis.call('SCARD', dead_projects)
  local memories = document_of(redis.call('HGET', record, 'dead_of'))
  for _, memory_id in ipairs(memories) do redis.call('SCARD', dead_of_prefix .. memory_id) end
  return memories
end

-- Takes a record that is no dead letter any more off the lists and out of the index.
local function unlist_dead(dead, unsorted_dead, dead_projects, dead_of_prefix, record_id, record, project)
  local memories = listed_memories(dead, unsorted_dead, dead_projects, dead_of_prefix, record)
  redis.call('ZREM', dead, record_id)
  redis.call('ZREM', unsorted_dead, record_id)
  if redis.call('EXISTS', dead) == 0 then redis.call('SREM', dead_projects, project) end
  for _, memory_id in ipairs(memories) do
    redis.call('SREM', dead_of_prefix .. memory_id, record_id)
  end
  redis.call('HDEL', record, 'dead_of')
end
