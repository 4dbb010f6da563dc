"""Decodes text files, whatever their encoding."""

from __future__ import annotations

import logging
import re
from typing import NamedTuple

from charset_normalizer import from_bytes

UTF_8 = "utf-8"
_NO_TEXT = re.compile("[\x00-\x06\x0b\x0e-\x19\x1c-\x1f\ufffd]")
_CONTROL = bytes(set(range(32)) - {7, 8, 9, 10, 12, 13, 26, 27})
# What is tried if a file is not UTF-8, by the beginning of the file in bytes. Other one-byte encodings of Western and
# Central Europe cannot be told from cp1252.
_CANDIDATES = ["cp932", "euc_jp", "gb18030", "big5", "euc_kr", "cp1251", "koi8_r", "cp1252"]
_NAMES = {"cp932": "shift_jis", "gb18030": "gbk", "cp949": "euc_kr"}
_LOOKED_AT = 16_384
# A text in which so many of its characters beyond ASCII are valid UTF-8, for each byte that is not, is UTF-8.
_VALID_PER_STRAY = 10
# The share of bytes at even or odd places that are NUL in UTF-16 text of any language that uses ASCII too.
_LEAST_NULS, _MOST_NULS = 0.3, 0.02
logging.getLogger("charset_normalizer").setLevel(logging.WARNING)


class Decoded(NamedTuple):
    """A text, and the encoding that it was in, as in the IANA registry of character sets, in lower case."""

    text: str
    encoding: str


def is_utf_8(data: bytes) -> bool:
    """Whether a file is text in UTF-8 without a byte order mark: it can be used as it is."""
    if b"\0" in data or data.startswith(b"\xef\xbb\xbf"):
        return False
    try:
        return data.isascii() or bool(data.decode())
    except UnicodeDecodeError:
        return False


def decode(data: bytes) -> Decoded | None:
    """Returns the text of a file; None if its bytes are not text."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        # UTF-32 starts like UTF-16, but decoded as UTF-16 it contains NULs.
        text = data.decode("utf-16", errors="replace")
        return None if "\0" in text else Decoded(text, "utf-16")
    if b"\0" in data:
        return _utf_16(data)
    try:
        return Decoded(data.decode("utf-8-sig"), UTF_8)
    except UnicodeDecodeError:
        return None if len(data.translate(None, _CONTROL)) < len(data) else _guessed(data)


def _utf_16(data: bytes) -> Decoded | None:
    """Decodes UTF-16 without a byte order mark, which has NULs at every other place."""
    sample = data[: _LOOKED_AT & ~1]
    even, odd = (sample[start::2].count(0) / max(1, len(sample) // 2) for start in (0, 1))
    for name, many, few in (("utf-16-le", odd, even), ("utf-16-be", even, odd)):
        if len(data) % 2 == 0 and many >= _LEAST_NULS and few <= _MOST_NULS:
            text = data.decode(name, errors="replace")
            return None if _NO_TEXT.search(text) else Decoded(text, name)
    return None


def _guessed(data: bytes) -> Decoded:
    text = data.decode(UTF_8, errors="replace")
    strays = text.count("\ufffd")
    valid = sum(not char.isascii() for char in text) - strays
    if valid >= _VALID_PER_STRAY * strays:
        return Decoded(text.removeprefix("\ufeff"), UTF_8)
    # Whole lines, not to cut a character, and only those that say something.
    telling = b"\n".join(line for line in data.split(b"\n") if not line.isascii())
    sample = telling[:_LOOKED_AT]
    if len(sample) < len(telling):
        sample = sample.rpartition(b"\n")[0] or sample
    best = from_bytes(sample, cp_isolation=_CANDIDATES).best()
    name = best.encoding if best is not None and best.encoding != "ascii" else "cp1252"
    return Decoded(data.decode(name, errors="replace"), _NAMES.get(name, name.replace("cp125", "windows-125")))
