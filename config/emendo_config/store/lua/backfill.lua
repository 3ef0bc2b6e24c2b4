-- Gives one memory the vector of one more embedding space, if its text is still the one that was embedded.
--
-- Returns 'done'; 'changed' when the text is another by now; 'gone' when there is no text.
--
-- The memory's version and history stay as they are. A space is listed in `embedding_space` exactly while its field
-- holds the vector of the current text. A commit that does not know the space finds the list changed, and is stale.
-- A second run writes the same again.
--
-- At the memory limit Redis refuses it: it adds a vector, and the re-embedding waits.
local hash, listed = unpack(redis.call('HMGET', memory, 'hash', 'embedding_space'))
if not hash then return 'gone' end
if hash ~= text_hash then return 'changed' end
local names = listed_without(listed, space)
names[#names + 1] = space
local models = model ~= '' and {'embedding_model', model} or {}
-- One command: each one that writes makes every index take the memory up again.
redis.call('HSET', memory, field, vector, 'embedding_space', spaces_value(names), unpack(models))
return 'done'
