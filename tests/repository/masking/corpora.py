"""Two corpora of labelled texts, each with secrets and with look-alikes that must stay as they are.

All values are invented. The first was at hand when the rules were written; the second was made without knowledge of
the first and of the rules, and served only to find what the rules missed.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

from cco_sidecar.repository.masking import mask_file

NAMES = ("first", "second")
KNOWN, CONFIGURATION = "known", "config"


class Text(NamedTuple):
    """A file with the secrets in it. ``kind``: KNOWN for documented formats, CONFIGURATION for other passwords."""

    id: str
    path: str
    text: str
    kind: str = ""
    format: str = ""
    secrets: tuple[str, ...] = ()


def secrets(name: str) -> list[Text]:
    return [
        Text(each["id"], each["path"], each["text"], each["kind"], each["format"], tuple(each["secrets"]))
        for each in _read(f"secrets_{name}.jsonl")
    ]


def look_alikes(name: str) -> list[Text]:
    return [Text(each["id"], each["path"], each["text"]) for each in _read(f"look_alikes_{name}.jsonl")]


def missed(name: str, kind: str) -> tuple[list[str], int]:
    """Returns the secrets of a kind that were not masked, and the number of all."""
    left, total = [], 0
    for each in secrets(name):
        if each.kind == kind:
            masked = mask_file(each.text.encode(), each.path)[0].decode()
            total += len(each.secrets)
            left += [f"{each.id} {each.format}: {secret}" for secret in each.secrets if secret in masked]
    return left, total


@cache
def _read(name: str) -> list[dict[str, str]]:
    lines = Path(__file__).with_name(name).read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]
