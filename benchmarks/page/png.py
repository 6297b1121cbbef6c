"""Reads the description that a PNG carries, so that a picture brings its own caption and text alternative.

Never decodes a picture.
"""

import struct

SIGNATURE = b"\x89PNG\r\n\x1a\n"
KEYWORD = b"Description"


def description(content: bytes) -> str:
    """The text of the file's `Description`, empty if it has none.

    Raises:
        ValueError: it is no whole PNG.
    """
    if not content.startswith(SIGNATURE):
        raise ValueError("picture: expected a PNG file")
    place = len(SIGNATURE)
    while place + 8 <= len(content):
        size, kind = struct.unpack(">I4s", content[place : place + 8])
        body = content[place + 8 : place + 8 + size]
        if len(body) < size:
            break
        keyword, _, text = body.partition(b"\0")
        if kind == b"tEXt" and keyword == KEYWORD:
            return text.decode("latin-1")
        if kind == b"iTXt" and keyword == KEYWORD:
            # Two bytes about compression, then a language and a translated keyword, each ended by a zero.
            return text[2:].split(b"\0", 2)[2].decode()
        if kind == b"IEND":
            return ""
        place += size + 12
    raise ValueError("picture: the PNG file is cut off")
