-- Takes one embedding space's vector from a memory.
--
-- KEYS  1 memory
-- ARGV  1 space   2 field of its vector   3 what `embedding_model` is to say ('': leave it)
-- Returns 1 when there was something of it, else 0.
--
-- What the memory is, its version and its history are left alone. A commit that was based on the longer list of spaces
-- finds it changed, and is stale. Run twice the second run finds nothing.
local listed = redis.call('HGET', KEYS[1], 'embedding_space')
local removed = redis.call('HDEL', KEYS[1], ARGV[2])
local left = {}
for space in string.gmatch(listed or '', '[^,]+') do
  if space == ARGV[1] then removed = 1 else left[#left + 1] = space end
end
if removed == 0 then return 0 end
if #left > 0 then
  local model = ARGV[3] ~= '' and {'embedding_model', ARGV[3]} or {}
  redis.call('HSET', KEYS[1], 'embedding_space', table.concat(left, ','), unpack(model))
elseif listed then
  redis.call('HDEL', KEYS[1], 'embedding_space', 'embedding_model')
end
return 1
