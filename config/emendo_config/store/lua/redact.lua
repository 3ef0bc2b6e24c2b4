-- Replaces a field of a record, if it is still what the replacement was made from.
--
-- Returns 1 when it was replaced. So a record that has ended or gone meanwhile is left alone.
--
-- It runs at the memory limit: content goes.
if redis.call('HGET', record, field) ~= stored then return 0 end
redis.call('HSET', record, field, kept)
return 1
