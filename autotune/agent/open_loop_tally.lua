-- What was counted: one struct part for each process, whose counts and histograms are added exactly.

local ffi = require("ffi")

local BUCKETS = 4608
ffi.cdef((([[
struct part {
  double ready;                                      /* 1: connected, -1: nobody there */
  double due, unanswered, answered, bytes, retried;   /* answered: within the window, and their bytes */
  double connect, read, write, status;
  double sum_s, longest_s, late_longest_s, closed_s, busy;
  double latency[BUCKETS], late[BUCKETS];
};
]]):gsub("BUCKETS", BUCKETS)))

local tally = {}

-- Buckets of a histogram are half a percent wide, from a microsecond to over an hour; the first is all below.
local SHORTEST_S, WIDTH = 1e-6, math.log(1.005)
function tally.bucket(seconds)
  if seconds <= SHORTEST_S then
    return 0
  end
  return math.min(BUCKETS - 1, math.floor(math.log(seconds / SHORTEST_S) / WIDTH) + 1)
end

-- The latency that a share of the requests does not exceed, in microseconds: the middle of its bucket.
local function percentile(parts, processes, field, share, longest_s)
  local all = 0
  local counts = ffi.new("double[?]", BUCKETS)
  for number = 0, processes - 1 do
    for place = 0, BUCKETS - 1 do
      counts[place] = counts[place] + parts[number][field][place]
      all = all + parts[number][field][place]
    end
  end
  local wanted, reached = math.ceil(all * share), 0
  for place = 0, BUCKETS - 1 do
    reached = reached + counts[place]
    if all > 0 and reached >= wanted then
      return math.min(longest_s, SHORTEST_S * math.exp((place - 0.5) * WIDTH)) * 1e6
    end
  end
  return 0
end

-- Prints `marker` and what the parts come to, in one line.
function tally.report(marker, parts, processes)
  local function sum(field)
    local found = 0
    for number = 0, processes - 1 do
      found = found + parts[number][field]
    end
    return found
  end
  local function most(field)
    local found = 0
    for number = 0, processes - 1 do
      found = math.max(found, parts[number][field])
    end
    return found
  end
  local longest_s, late_s = most("longest_s"), most("late_longest_s")
  io.write(
    "\n", marker,
    string.format(' {"due":%d,"unanswered":%d,"answered":%d,', sum("due"), sum("unanswered"), sum("answered")),
    string.format('"bytes":%.0f,"retried":%d,"duration_us":%.0f,', sum("bytes"), sum("retried"), most("closed_s") * 1e6),
    string.format(
      '"errors":{"connect":%d,"read":%d,"write":%d,"status":%d},',
      sum("connect"), sum("read"), sum("write"), sum("status")
    ),
    string.format('"latency_us":{"mean":%.3f', sum("due") > 0 and sum("sum_s") / sum("due") * 1e6 or 0)
  )
  for _, one in ipairs({ { "p50", 0.5 }, { "p90", 0.9 }, { "p95", 0.95 }, { "p99", 0.99 }, { "p999", 0.999 } }) do
    io.write(string.format(',"%s":%.3f', one[1], percentile(parts, processes, "latency", one[2], longest_s)))
  end
  io.write(
    string.format(',"max":%.3f},"late_us":{"p50":%.3f,', longest_s * 1e6, percentile(parts, processes, "late", 0.5, late_s)),
    string.format('"p99":%.3f,"max":%.3f},', percentile(parts, processes, "late", 0.99, late_s), late_s * 1e6),
    string.format('"busy":%.4f}\n', most("busy"))
  )
  io.flush()
end

return tally
