-- Ends a drain, or tells it to go on: the only place where a bell falls silent.
--
-- KEYS  1 bell   2 inbox
-- ARGV  1 owner   2 over budget? (1 or 0)   3 ring id   4 ring TTL (ms)
-- Returns 'silent' (inbox empty, bell gone), 'more' (read on), 'ring' (publish a successor)
-- or 'lost' (the lease ran out and somebody else has the shard).
--
-- Seeing the inbox empty and silencing the bell are one step: a job accepted before it is seen here,
-- and one accepted after it finds no bell and rings.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 'lost' end
if redis.call('XLEN', KEYS[2]) == 0 then
  redis.call('DEL', KEYS[1])
  return 'silent'
end
if ARGV[2] == '0' then return 'more' end
redis.call('SET', KEYS[1], 'rung:' .. ARGV[3], 'PX', ARGV[4])
return 'ring'
