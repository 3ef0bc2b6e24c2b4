-- Replaces the payload of a job, or of a batch job's chunk, by the result of inference so far. Nothing of it is applied
-- yet, so that a later attempt goes on from here.
--
-- Returns 1 when the record has the payload; 0 when this attempt is not the job's latest: nothing was changed.
--
-- Safe to run twice: a payload that is there already is not counted again.
--
-- It runs at the memory limit: what the chat model was paid for is kept, and the commit of the plan waits.
if redis.call('HGET', record, 'attempt_token') ~= token then return 0 end
if redis.call('HGET', record, 'payload') == payload then return 1 end
redis.call('HLEN', counters)  -- fails where the writes below would

local more = operations - (tonumber(redis.call('HGET', record, 'items') or '0') or 0)
redis.call('HSET', record, 'payload', payload, 'items', operations)
if not has_account(job) then return 1 end
if job ~= record then count(job, 'items', more) end

local function merge(field, document, join)
  local known = document_of(redis.call('HGET', job, field))
  for name, value in pairs(cjson.decode(document)) do known[name] = join(tonumber(known[name]), value) end
  if next(known) then redis.call('HSET', job, field, cjson.encode(known)) end
end
merge('usage', usage, function(before, count) return (before or 0) + count end)
merge('prompts', prompts, function(_, version) return version end)
if degraded ~= '' then redis.call('HSET', job, 'degraded', degraded) end
for name, by in pairs(cjson.decode(counts)) do count(counters, name, by) end
return 1
