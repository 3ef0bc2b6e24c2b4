-- Counts the workers that died over each record: their attempt began and nobody ended it.
--
-- Returns the number for each record. It stays in the record until an attempt ends.
-- A worker that gives a sign of life is no death, nor is one that gives a sign later. So the record keeps each suspect
-- with its last sign: `<worker>@<sign>`. An attempt of this worker's own process that is not among `living` ended without a word.
-- Safe to run twice: each suspect is kept once.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lives = {}
for i = living_from, living_to do lives[ARGV[i]] = true end

local function sign_of(name)
  local sign = allowed(redis.pcall('ZSCORE', workers, name))
  return type(sign) == 'string' and sign or ''
end

-- The worker to blame for an attempt that was not ended; nil when nobody died.
local function suspect(attempt, name)
  if name == worker then return not lives[attempt] and attempt .. '@' or nil end
  local sign = sign_of(name)
  if sign ~= '' and now - tonumber(sign) < silence_ms then return nil end
  return name .. '@' .. sign
end

local reply = {}
for key in records do
  local status, attempt, name, suspects = unpack(fields_of(key, 'status', 'attempt_token', 'worker', 'deaths'), 1, 4)
  local kept, known = {}, {}
  local function keep(entry)
    if not known[entry] then
      known[entry] = true
      kept[#kept + 1] = entry
    end
  end
  for entry, who, sign in string.gmatch(suspects or '', '(([^,@]+)@([^,@]*))') do
    local latest = sign_of(who)
    if latest == '' or latest == sign then keep(entry) end
  end
  if status == 'running' and attempt and name then
    local entry = suspect(attempt, name)
    if entry then keep(entry) end
  end
  local value = table.concat(kept, ',')
  if value ~= (suspects or '') then redis.call('HSET', key, 'deaths', value) end
  reply[#reply + 1] = #kept
end
return reply
