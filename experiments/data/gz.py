"""The beginning of what a gzip file holds, inflated no further than asked.

`gzip.decompress` inflates all there is, a thousand times the file or, from a chain of such files, the memory.
"""

import zlib
from typing import BinaryIO

MAGIC = b"\x1f\x8b"
WITH_HEADER = 31
"""How zlib calls a stream with the header and the checksum of a gzip file."""
CHUNK = 1 << 16


def first(file: BinaryIO, most: int) -> bytearray:
    """The first `most` bytes, or all if there are fewer; several gzip streams in a row are one.

    What is inflated to its end has the right checksum. `EOFError` or `zlib.error` where it is no gzip file.
    """
    found, rest = bytearray(), file.read(CHUNK)
    if not rest.startswith(MAGIC):
        raise zlib.error("it is not a gzip file")
    while rest and len(found) < most:
        if not MAGIC.startswith(rest[:2]):
            raise zlib.error("something else follows its gzip data")
        stream = zlib.decompressobj(WITH_HEADER)
        while not stream.eof and len(found) < most:
            rest = rest or file.read(CHUNK)
            if not rest:
                raise EOFError("Compressed file ended before its end was marked")
            found += stream.decompress(rest, most - len(found))
            rest = stream.unconsumed_tail
        rest = stream.unused_data or file.read(CHUNK)
    return found
