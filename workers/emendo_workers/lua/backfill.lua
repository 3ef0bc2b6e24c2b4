-- Gives one memory the vector of one more embedding space, if its text is still the one that was embedded.
--
-- KEYS  1 memory
-- ARGV  1 hash of the embedded text   2 space   3 field of its vector   4 vector
--       5 what `embedding_model` is to say ('': leave it)
-- Returns 'done'; 'changed' when the text is another by now; 'gone' when there is no text any more.
--
-- What the memory is, its version and its history are left alone. A space is listed in `embedding_space` exactly while
-- its field holds the vector of the current text; a commit that does not know it finds the list changed, and is stale.
-- Run twice it writes the same again.
local hash, listed = unpack(redis.call('HMGET', KEYS[1], 'hash', 'embedding_space'))
if not hash then return 'gone' end
if hash ~= ARGV[1] then return 'changed' end
local spaces = {ARGV[2]}
for space in string.gmatch(listed or '', '[^,]+') do
  if space ~= ARGV[2] then spaces[#spaces + 1] = space end
end
table.sort(spaces)
local model = ARGV[5] ~= '' and {'embedding_model', ARGV[5]} or {}
-- In one command: after each the memory is indexed anew, in every index.
redis.call('HSET', KEYS[1], ARGV[3], ARGV[4], 'embedding_space', table.concat(spaces, ','), unpack(model))
return 'done'
