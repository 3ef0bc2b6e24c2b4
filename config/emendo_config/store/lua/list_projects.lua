-- Adds projects to the set of all projects.
--
-- Returns 1. Safe to run twice.
--
-- It runs at the memory limit: names are small, and housekeeping frees more.
redis.call('SADD', projects, unpack(ARGV, names_from, names_to))
return 1
