"""Tags: words to find a record by."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from cco_sidecar.core.errors import invalid_request

_MAX = 64
_TAG = re.compile(r"[^,\u0000-\u0020\u007f]([^,\u0000-\u001f\u007f]{0,62}[^,\u0000-\u0020\u007f])?")


def tags_of(given: Iterable[str]) -> Sequence[str]:
    """Returns tags, each once, in their order. Raises SidecarError (REQ_001)."""
    tags = list(dict.fromkeys(given))
    for tag in tags:
        if not _TAG.fullmatch(tag):
            raise invalid_request(
                f"tags: {tag!r} is not a tag: expected 1 to {_MAX} characters, without a comma, and without a blank "
                "at either end",
                field="tags",
            )
    return tags
