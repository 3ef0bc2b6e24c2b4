-- Replaces the payload of a job, or of a batch job's chunk, by what inference has made of it so far: before any of it
-- is carried out, so that whoever works the job next goes on from there.
--
-- KEYS  1 record   2 its job's record (the same, unless it is a chunk)   3 counters
-- ARGV  1 token of the attempt   2 payload   3 number of operations in it
--       4 what was spent since the last time: JSON, name: count   5 prompts that were used: JSON, stage: version
--       6 why nothing was inferred, or ''   7 counters to raise: JSON, name: by how much
-- Returns 1 when the record has the payload; 0 when this attempt is not the job's latest: nothing was changed.
--
-- Safe to run twice: a payload that is there already is not counted again.
local record, job, counters = KEYS[1], KEYS[2], KEYS[3]
local token, payload, operations = ARGV[1], ARGV[2], tonumber(ARGV[3])
if redis.call('HGET', record, 'attempt_token') ~= token then return 0 end
if redis.call('HGET', record, 'payload') == payload then return 1 end

local more = operations - tonumber(redis.call('HGET', record, 'items'))
redis.call('HSET', record, 'payload', payload)
redis.call('HINCRBY', record, 'items', more)
if job ~= record then redis.call('HINCRBY', job, 'items', more) end

local function merge(field, document, join)
  local known = cjson.decode(redis.call('HGET', job, field) or '{}')
  for name, value in pairs(cjson.decode(document)) do known[name] = join(known[name], value) end
  if next(known) then redis.call('HSET', job, field, cjson.encode(known)) end
end
merge('usage', ARGV[4], function(before, count) return (before or 0) + count end)
merge('prompts', ARGV[5], function(_, version) return version end)
if ARGV[6] ~= '' then redis.call('HSET', job, 'degraded', ARGV[6]) end
for name, count in pairs(cjson.decode(ARGV[7])) do redis.call('HINCRBY', counters, name, count) end
return 1
