-- Puts one dead-lettered job back to work, under its own id, so that effects it already had stay single.
--
-- KEYS  1 job record   2 dead letters   3 the shard's inbox   4 the shard's bell   5 shards seen
-- ARGV  1 job id   2 project   3 ring id   4 ring TTL (ms)   5 shard
-- Returns {'replayed', ring? (1 or 0)}, or {the reason it was not, 0}: 'unknown' or the job's status.
local record = redis.call('HMGET', KEYS[1], 'status', 'project')
if not record[1] or record[2] ~= ARGV[2] then return {'unknown', 0} end
if record[1] ~= 'failed' or redis.call('ZREM', KEYS[2], ARGV[1]) == 0 then return {record[1], 0} end
redis.call('HSET', KEYS[1], 'status', 'queued', 'attempts', 0)
redis.call('HDEL', KEYS[1], 'finished', 'error', 'results', 'next_attempt', 'attempt_token')
redis.call('PERSIST', KEYS[1])
redis.call('XADD', KEYS[3], '*', 'job', ARGV[1])
redis.call('SADD', KEYS[5], ARGV[5])
return {'replayed', redis.call('SET', KEYS[4], 'rung:' .. ARGV[3], 'NX', 'PX', ARGV[4]) and 1 or 0}
