"""Prints lengths packed by struct: a line `FORMAT LENGTH HEX` for each."""

import itertools
import struct

orders, kinds = ["", "@", "=", "<", ">", "!"], "bBhHiIlLqQnN"
for order, kind, length in itertools.product(orders, kinds, [0, 1, 127, 255, 32767, 65535]):
    try:
        packed = struct.pack(order + kind, length)
    except struct.error:
        continue  # n and N have native sizes only, or the length does not fit
    print(order + kind, length, packed.hex())
