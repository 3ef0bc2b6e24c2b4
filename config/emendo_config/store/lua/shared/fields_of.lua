-- The values of a hash's fields; none of a key that holds another type, so that a damaged record raises nothing.
local function fields_of(key, ...)
  local values = allowed(redis.pcall('HMGET', key, ...))
  if values.err then return {} end
  return values
end
-- A stored JSON document as a table; an empty one when it is none.
local function document_of(stored)
  local is_json, document = pcall(cjson.decode, stored or '{}')
  return is_json and type(document) == 'table' and document or {}
end
