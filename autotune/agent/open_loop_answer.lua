-- HTTP/1.x answers as they come in, byte for byte, with a limit for everything that a server could make endless.
--
-- `c` is a struct connection (open_loop_line.lua). What can't be an answer is BAD, what is not all there yet MORE.

local ffi = require("ffi")
local bit = require("bit")
local C = ffi.C

ffi.cdef([[
uint8_t *memmem(const uint8_t *, size_t, const char *, size_t);
uint8_t *memchr(const uint8_t *, int, size_t);
int strncasecmp(const uint8_t *, const char *, size_t);
]])

local answer = { MORE = -1, BAD = -2, HEAD_CAP = 16384 }
local MORE, BAD, HEAD_CAP = answer.MORE, answer.BAD, answer.HEAD_CAP
local LENGTH, CHUNKED, UNTIL_CLOSE, INTERIM = 1, 2, 3, 4
local SIZE, EXTENSION, DATA, DATA_END, TRAILER, TRAILER_LINE = 0, 1, 2, 3, 4, 5
local CR, LF, SPACE, TAB, SEMICOLON = 13, 10, 32, 9, 59
local BETWEEN_CHUNKS_CAP = 16384

answer.INTERIM = INTERIM

local function is_digit(byte)
  return byte >= 48 and byte <= 57
end

local function hex(byte)
  if is_digit(byte) then
    return byte - 48
  end
  local letter = bit.bor(byte, 32)
  return letter >= 97 and letter <= 102 and letter - 87 or -1
end

local function value_at(head, p)
  while head[p] == SPACE or head[p] == TAB do
    p = p + 1
  end
  return p
end

local function length_at(head, p)
  local length, digits = 0, 0
  p = value_at(head, p)
  while is_digit(head[p]) do
    length, digits, p = length * 10 + head[p] - 48, digits + 1, p + 1
  end
  return digits > 0 and digits < 16 and head[value_at(head, p)] == CR and length or BAD
end

local function names(head, p, word, size)
  while head[p] ~= CR and head[p] ~= LF do
    if C.strncasecmp(head + p, word, size) == 0 then
      return true
    end
    p = p + 1
  end
  return false
end

-- One header line, beginning at p; whether it can be.
local function header(c, head, p)
  local first = bit.bor(head[p], 32)
  if first == 99 then -- c
    if C.strncasecmp(head + p, "content-length:", 15) == 0 then
      local length = length_at(head, p + 15)
      if length == BAD or (c.mode == LENGTH and length ~= c.left) then
        return false
      end
      if c.mode ~= CHUNKED then
        c.mode, c.left = LENGTH, length
      end
    elseif C.strncasecmp(head + p, "connection:", 11) == 0 then
      if names(head, p + 11, "close", 5) then
        c.closing = 1
      elseif names(head, p + 11, "keep-alive", 10) then
        c.closing = 0
      end
    end
  elseif first == 116 and C.strncasecmp(head + p, "transfer-encoding:", 18) == 0 then -- t
    if C.strncasecmp(head + value_at(head, p + 18), "chunked", 7) ~= 0 then
      return false
    end
    c.mode, c.left = CHUNKED, 0
  end
  return true
end

local function status_of(head)
  if C.strncasecmp(head, "HTTP/1.", 7) ~= 0 or head[8] ~= SPACE then
    return BAD
  end
  local a, b, d = head[9], head[10], head[11]
  if not (is_digit(a) and is_digit(b) and is_digit(d)) then
    return BAD
  end
  return (a - 48) * 100 + (b - 48) * 10 + d - 48
end

-- Reads the head in the first `have` bytes of `head`; where it ends, MORE, or BAD. Sets status, closing, mode and left;
-- the mode INTERIM is that of a 1xx, after which another head follows.
function answer.head(c, head, have)
  local from = c.scanned > 3 and c.scanned - 3 or 0
  local blank = C.memmem(head + from, have - from, "\r\n\r\n", 4)
  if blank == nil then
    c.scanned = have
    return have < HEAD_CAP and MORE or BAD
  end
  local stop = tonumber(blank - head) + 4
  c.status = status_of(head)
  if c.status < 100 then
    return BAD
  end
  c.mode, c.left, c.closing = UNTIL_CLOSE, 0, head[7] == 48 and 1 or 0
  local p = 12
  while true do
    p = tonumber(C.memchr(head + p, LF, stop - p) - head) + 1
    if p >= stop - 2 then
      break
    end
    if not header(c, head, p) then
      return BAD
    end
  end
  if c.status < 200 then
    c.mode = INTERIM
  elseif c.status == 204 or c.status == 304 then
    c.mode, c.left = LENGTH, 0
  elseif c.mode == UNTIL_CLOSE then
    c.closing = 1
  end
  c.chunk, c.digits, c.extra = SIZE, 0, 0
  return stop
end

local function chunks(c, bytes, p, to)
  while p < to do
    local state = c.chunk
    if state == DATA then
      local size = math.min(c.left, to - p)
      c.left, p = c.left - size, p + size
      if c.left == 0 then
        c.chunk, c.digits, c.extra = DATA_END, 0, 0
      end
    else
      local byte = bytes[p]
      p = p + 1
      c.extra = c.extra + 1
      if c.extra > BETWEEN_CHUNKS_CAP then
        return BAD
      end
      if state == SIZE then
        local digit = hex(byte)
        if digit >= 0 and c.digits < 12 then
          c.left, c.digits = c.left * 16 + digit, c.digits + 1
        elseif c.digits == 0 or (byte ~= CR and byte ~= SEMICOLON and byte ~= SPACE and byte ~= TAB) then
          return BAD
        else
          c.chunk = EXTENSION
        end
      elseif state == EXTENSION then
        if byte == LF then
          c.chunk = c.left > 0 and DATA or TRAILER
        end
      elseif state == DATA_END then
        if byte == LF then
          c.chunk, c.left, c.digits = SIZE, 0, 0
        elseif byte ~= CR then
          return BAD
        end
      elseif state == TRAILER then
        if byte == LF then
          return p
        elseif byte ~= CR then
          c.chunk = TRAILER_LINE
        end
      elseif byte == LF then
        c.chunk = TRAILER
      end
    end
  end
  return MORE
end

-- Takes the body's bytes from p to before `to`; where it ends, MORE, or BAD.
function answer.body(c, bytes, p, to)
  if c.mode == LENGTH then
    local size = math.min(c.left, to - p)
    c.left = c.left - size
    return c.left == 0 and p + size or MORE
  elseif c.mode == CHUNKED then
    return chunks(c, bytes, p, to)
  end
  return MORE
end

-- Whether an answer whose server has hung up is all there.
function answer.ends_with_close(c)
  return c.in_body == 1 and c.mode == UNTIL_CLOSE
end

return answer
