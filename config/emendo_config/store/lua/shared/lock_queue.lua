-- Jobs that wait for one memory's lock: the first submission comes back soon, the others later or when one has ended.
--
-- Each stays in the delayed set, so a queue that is lost only costs time.
local LATER_MS, BETWEEN_MS = 10000, 2  -- the others come back one after another
local QUEUE_TTL = 300  -- seconds; longer than a job of the queue stays away
local MOST_RELEASED, MOST_FORGOTTEN = 1000, 10

-- Adds a job to the queue; how many milliseconds more it stays away. A first job that is not delayed any longer was
-- cancelled or is at work, so the next one takes its place.
local function queue_for_lock(queue, delayed, member, submitted)
  redis.call('ZADD', queue, tonumber(submitted) or 0, member)
  redis.call('EXPIRE', queue, QUEUE_TTL)
  for _ = 1, MOST_FORGOTTEN do
    local first = redis.call('ZRANGE', queue, 0, 0)[1]
    if first == member then return 0 end
    if redis.call('ZSCORE', delayed, first) then break end
    redis.call('ZREM', queue, first)
  end
  return LATER_MS + BETWEEN_MS * redis.call('ZRANK', queue, member)
end

-- Makes the jobs of a queue due now, in their order.
local function release_queue(queue, delayed, now_ms)
  for place, member in ipairs(redis.call('ZRANGE', queue, 0, MOST_RELEASED - 1)) do
    redis.call('ZADD', delayed, 'XX', 'LT', string.format('%.0f', now_ms - MOST_RELEASED + place), member)
  end
end
