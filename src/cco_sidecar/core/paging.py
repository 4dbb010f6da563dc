"""Pages of append-only lists: newest first, each item with a number."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

from cco_sidecar.core.errors import invalid_request

DEFAULT_LIMIT = 100


class Numbered(Protocol):
    @property
    def number(self) -> int: ...


T = TypeVar("T", bound=Numbered)


class Page(NamedTuple, Generic[T]):
    """A page. ``next_cursor`` is None on the last page."""

    items: Sequence[T]
    next_cursor: str | None


async def paged(read: Callable[[int | None, int], Awaitable[Sequence[T]]], before: int | None, limit: int) -> Page[T]:
    """Reads a page. ``limit`` 0 means the default.

    ``read(before, limit)`` returns items with numbers below ``before``. It may return fewer if they are large, but at
    least one if there is any.
    """
    most = limit or DEFAULT_LIMIT
    found = (await read(before, most + 1))[:most]
    if not found:
        return Page((), None)
    last = found[-1].number
    return Page(found, str(last) if await read(last, 1) else None)


def number_of(cursor: str) -> int | None:
    """Returns the number in a cursor; None for an empty one. Raises SidecarError (REQ_001) for an invalid one."""
    if not cursor:
        return None
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 18:
        raise invalid_request(f"cursor: {cursor[:40]!r} is not a next_cursor of this list", field="cursor")
    return int(cursor)
