-- Keeps vectors in the embedding cache, and counts their bytes: one command for a whole batch.
--
-- KEYS  1 the period's count of bytes   2... one for each vector
-- ARGV  1 TTL (s) of the vectors, 2 of the count   3... the vectors
-- Returns the bytes counted in the period. Run twice, it counts them twice: the cache keeps a little less, no more.
local bytes = 0
for i = 2, #KEYS do
  redis.call('SET', KEYS[i], ARGV[i + 1], 'EX', ARGV[1])
  bytes = bytes + #ARGV[i + 1]
end
local count = redis.call('INCRBY', KEYS[1], bytes)
redis.call('EXPIRE', KEYS[1], ARGV[2])
return count
