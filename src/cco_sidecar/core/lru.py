"""A least-recently-used cache with a size limit in bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ByteLru(Generic[K, V]):
    """A least-recently-used cache. Thread-safe."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._lock = Lock()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            self._entries.move_to_end(key)
            return entry[0]

    def put(self, key: K, value: V, size: int) -> None:
        """Stores a value of ``size`` bytes. A value larger than the cache is not stored."""
        with self._lock:
            self._drop(key)
            if size > self._most:
                return
            self._entries[key] = (value, size)
            self.bytes += size
            while self.bytes > self._most:
                _, (_, freed) = self._entries.popitem(last=False)
                self.bytes -= freed

    def remove(self, keep: Callable[[K], bool]) -> list[tuple[K, int]]:
        """Drops every entry whose key ``keep`` rejects. Returns the dropped keys and their sizes."""
        with self._lock:
            gone = [(key, size) for key, (_, size) in self._entries.items() if not keep(key)]
            for key, _ in gone:
                self._drop(key)
            return gone

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()
            self.bytes = 0

    def _drop(self, key: K) -> None:
        known = self._entries.pop(key, None)
        if known is not None:
            self.bytes -= known[1]
