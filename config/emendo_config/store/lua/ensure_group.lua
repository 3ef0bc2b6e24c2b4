-- Creates an inbox and its consumer group, if they are not there.
--
-- Returns 1. Safe to run twice.
--
-- It runs at the memory limit: without a group nobody could read the inbox.
local reply = redis.pcall('XGROUP', 'CREATE', inbox, group, '0', 'MKSTREAM')
if reply.err and not string.find(reply.err, 'BUSYGROUP', 1, true) then return reply end
return 1
