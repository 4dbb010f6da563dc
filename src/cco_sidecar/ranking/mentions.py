"""Places in files that a text names, such as `src/app.py:12` or a line of a traceback."""

from __future__ import annotations

import re
from collections.abc import Iterable

_PLACE = re.compile(
    r"File \"(?P<traced>[^\"\n]{1,400})\", line (?P<traced_line>\d{1,7})"
    r"|(?P<path>[^\s:'\"`()<>,;|]{1,400}\.\w{1,10})(?::|\(|#L| line | at line )(?P<line>\d{1,7})"
)
_MOST = 200


def places(text: str, paths: Iterable[str]) -> dict[str, set[int]]:
    """Returns the lines, from 1, that a text names, by path. A longer or shorter path stands for the file if it is the
    only one that ends so."""
    by_name: dict[str, list[str]] = {}
    found: dict[str, set[int]] = {}
    matches = list(_PLACE.finditer(text))[:_MOST]
    for path in paths if matches else ():
        by_name.setdefault(path.rpartition("/")[2], []).append(path)
    for match in matches:
        named = (match["traced"] or match["path"]).replace("\\", "/").removeprefix("./")
        candidates = [
            path
            for path in by_name.get(named.rpartition("/")[2], ())
            if path == named or path.endswith(f"/{named}") or named.endswith(f"/{path}")
        ]
        # Of an absolute path, the longest that fits; of a bare name, the only one.
        if len(candidates) > 1:
            candidates = sorted((path for path in candidates if named.endswith(path)), key=len)[-1:]
        for path in candidates:
            found.setdefault(path, set()).add(int(match["traced_line"] or match["line"]))
    return found
