-- Takes a token from the bucket KEYS[1]. ARGV: the microseconds in which one token comes back, and those in
-- which an empty bucket fills. Kept is the moment when the bucket is full, in microseconds since 1700000000:
-- numbers are doubles, and smaller ones keep their fractions. Returns {1 if admitted, microseconds to full}.
local interval, depth = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = (tonumber(time[1]) - 1700000000) * 1000000 + tonumber(time[2])
local full = tonumber(redis.call('GET', KEYS[1]) or '') or now
if full ~= full then full = now end -- not a number: not ours
local missing = math.min(math.max(full - now, 0), depth)
if missing + interval > depth + 0.1 then
  return {0, math.ceil(missing)}
end
missing = math.min(missing + interval, depth)
redis.call('SET', KEYS[1], string.format('%.3f', now + missing), 'PX', math.ceil(missing / 1000) + 1000)
return {1, math.ceil(missing)}
