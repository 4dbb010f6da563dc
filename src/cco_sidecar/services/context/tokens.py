"""Counts the tokens of a text. The vocabulary comes with the package bpe-openai; without it, tokens are estimated."""

from __future__ import annotations

import math
import re
import warnings
from functools import cache
from typing import Protocol

_VOCABULARY = "o200k_base"
# The fewest bytes that a token of source code has on average, as JSON: a context that fits by estimate fits by count.
_BYTES_OF_TOKEN = 3
_PART_CHARACTERS = 50_000
# Hexadecimal and base64 have shorter ones.
_DENSE, _BYTES_OF_DENSE_TOKEN = re.compile(rb"[A-Za-z0-9+/=_\-]{40,}"), 1.6


class Tokenizer(Protocol):
    """Counts tokens. ``name`` says how."""

    name: str

    def count(self, text: bytes) -> int:
        """Returns the number of tokens of a UTF-8 text."""
        ...


class _Estimate:
    name = "estimate"

    def count(self, text: bytes) -> int:
        dense = sum(len(run) for run in _DENSE.findall(text))
        return math.ceil((len(text) - dense) / _BYTES_OF_TOKEN + dense / _BYTES_OF_DENSE_TOKEN)


class _Vocabulary:
    name = _VOCABULARY

    def __init__(self) -> None:
        with warnings.catch_warnings():
            # Version 0.1.4 reads its vocabulary with importlib.resources.open_binary, which is deprecated.
            warnings.simplefilter("ignore", DeprecationWarning)
            import bpe_openai

            self._encoding = bpe_openai.get_encoding(_VOCABULARY)

    def count(self, text: bytes) -> int:
        whole = text.decode("utf-8", "replace")
        # Version 0.1.4 refuses long texts. A token that is cut counts twice.
        parts = (whole[at : at + _PART_CHARACTERS] for at in range(0, len(whole), _PART_CHARACTERS))
        return sum(len(self._encoding.encode_ordinary(part)) for part in parts)


@cache
def tokenizer() -> Tokenizer:
    """Returns the tokenizer; the vocabulary takes about 100 MB of memory from its first use on."""
    try:
        return _Vocabulary()
    except ImportError:
        return _Estimate()
