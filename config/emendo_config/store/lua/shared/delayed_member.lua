-- The member of the sorted set of delayed jobs, as `formats.delayed_member` in Python.
local function delayed_member(shard, record_id)
  return (shard or '') .. ':' .. record_id
end
