"""Writes a GGUF file once more with its matrices in Q8_0, without any package: python3 to_q8_0.py FROM TO. A row's scale is the largest
magnitude of each 32 over 127; matrices whose rows 32 does not divide stay as they are, as do vectors."""
import struct
import sys

SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # bytes of gguf's types of values
PLAIN = {0: (4, "f"), 1: (2, "e"), 30: (2, None)}                              # F32, F16, BF16
raw = open(sys.argv[1], "rb").read()
at = 0


def take(form):
    global at
    value = struct.unpack_from("<" + form, raw, at)[0]
    at += struct.calcsize("<" + form)
    return value


def skip(kind):
    global at
    if kind == 8:
        n = take("Q")
        at += n
    elif kind == 9:
        inner, n = take("I"), take("Q")
        for _ in range(n):
            skip(inner)
    else:
        at += SIZES[kind]


at = 8
tensors, keys = take("Q"), take("Q")
align = 32
for _ in range(keys):
    n = take("Q")
    name = raw[at:at + n]
    at += n
    kind = take("I")
    if name == b"general.alignment":
        align = struct.unpack_from("<I", raw, at)[0]
    skip(kind)
head, infos = raw[:at], []
for _ in range(tensors):
    n = take("Q")
    name = raw[at:at + n]
    at += n
    dims = [take("Q") for _ in range(take("I"))]
    infos.append((name, dims, take("I"), take("Q")))
data = (at + align - 1) // align * align


def numbers(kind, offset, n):
    size, form = PLAIN[kind]
    part = raw[data + offset:data + offset + n * size]
    if form:
        return struct.unpack("<%d%s" % (n, form), part)
    return struct.unpack("<%df" % n, b"".join(b"\0\0" + part[i:i + 2] for i in range(0, len(part), 2)))


table, body = b"", b""
for name, dims, kind, offset in infos:
    n = 1
    for d in dims:
        n *= d
    x = numbers(kind, offset, n)
    if len(dims) > 1 and dims[0] % 32 == 0:
        out = bytearray()
        for i in range(0, n, 32):
            part = x[i:i + 32]
            scale = struct.unpack("<e", struct.pack("<e", max(map(abs, part)) / 127))[0]
            out += struct.pack("<e32b", scale, *(max(-127, min(127, round(v / scale))) if scale else 0 for v in part))
        kind = 8
    else:
        out = raw[data + offset:data + offset + n * PLAIN[kind][0]]
    body += bytes(-len(body) % align)
    table += struct.pack("<Q", len(name)) + name + struct.pack("<I%dQIQ" % len(dims), len(dims), *dims, kind, len(body))
    body += out
whole = head + table
open(sys.argv[2], "wb").write(whole + bytes(-len(whole) % align) + body)
