-- Writes the tags of a memory's metadata, if that is still the metadata they were made of.
--
-- Returns 1, or 0 when the metadata is another by now: the change wrote its tags.
--
-- The memory's version and history stay as they are. A second run writes the same again.
--
-- At the memory limit Redis refuses it: it adds tags, and housekeeping comes again.
if redis.call('HGET', memory, 'metadata') ~= metadata then return 0 end
if tags == '' then
  redis.call('HDEL', memory, 'metadata_tags')
else
  redis.call('HSET', memory, 'metadata_tags', tags)
end
return 1
