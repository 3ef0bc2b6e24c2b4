-- Makes one drain the shard's only reader.
--
-- KEYS  1 bell
-- ARGV  1 owner (`drain:<worker>:<n>`)   2 lease (ms)
-- Returns 1 when the shard is ours, 0 when another drain holds it.
-- A rung bell, and one that expired before the message arrived, are both ours to take.
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] and string.sub(held, 1, 6) == 'drain:' then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
