local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local answer, states = { 1 }, {}
for i, key in ipairs(KEYS) do
  local size, fill, interval, cost, needed = unpack(ARGV, i * 5 - 4, i * 5)
  size, fill, interval, cost, needed =
    tonumber(size), tonumber(fill), tonumber(interval), tonumber(cost), tonumber(needed)
  local state = redis.call('HMGET', key, 'level', 'filled')
  local level, filled = tonumber(state[1]), tonumber(state[2])
  if not level or not filled or filled > now then
    level, filled = level or size, now
  end
  local fills = math.floor((now - filled) / interval)
  level, filled = math.min(size, level + fills * fill), filled + fills * interval
  local next, wait = filled + interval - now, 0
  if needed and level < needed then
    answer[1] = 0
    local lacking = math.min(needed, size) - level
    wait = next + (math.max(math.ceil(lacking / fill), 1) - 1) * interval
  end
  states[i] = { level, filled, cost, size, fill, interval }
  answer[i * 3 - 1], answer[i * 3], answer[i * 3 + 1] = math.max(level, 0), next, wait
end
if answer[1] == 1 then
  for i, key in ipairs(KEYS) do
    local level, filled, cost, size, fill, interval = unpack(states[i])
    level = math.min(size, level - cost)
    answer[i * 3 - 1] = math.max(level, 0)
    local full = filled + math.ceil((size - level) / fill) * interval - now
    if full > 0 then
      redis.call('HSET', key, 'level', string.format('%.0f', level), 'filled', string.format('%.0f', filled))
      redis.call('PEXPIRE', key, string.format('%.0f', full))
    else
      redis.call('DEL', key)
    end
  end
end
return answer
