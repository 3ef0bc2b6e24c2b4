-- Lets the alias stand for another index, unless somebody moved it since it was read.
--
-- Returns 1, or 0 when it stood for a third index; then nothing was changed.
--
-- Searches use one of the two indexes, whole. A second run changes nothing.
--
-- It runs at the memory limit, since it takes no memory.
local name = redis.call('FT.INFO', alias)[2]
if type(name) == 'table' then name = name.ok end
if name == wanted then return 1 end
if name ~= current then return 0 end
redis.call('FT.ALIASUPDATE', alias, wanted)
return 1
