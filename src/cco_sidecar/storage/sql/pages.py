"""Pages of rows of very different sizes."""

from __future__ import annotations

from collections.abc import Iterable


def up_to(sized: Iterable[tuple[int, int]], most: int) -> list[int]:
    """Returns the leading numbers whose total size is at most ``most``, but at least one."""
    found: list[int] = []
    for number, size in sized:
        most -= size
        if found and most < 0:
            break
        found.append(number)
    return found
