"""How much a context may hold."""

from __future__ import annotations

from typing import NamedTuple

from google.protobuf.message import Message


class Budget(NamedTuple):
    """Limits of a context, as JSON; None for no limit. Both hold."""

    max_bytes: int | None = None
    max_tokens: int | None = None

    @classmethod
    def of(cls, message: Message, prefix: str = "") -> Budget:
        """Reads the fields ``max_bytes`` and ``max_tokens`` of a message, whose names may have a prefix."""
        return cls(
            *(
                getattr(message, name) if message.HasField(name) else None
                for name in (f"{prefix}{field}" for field in cls._fields)
            )
        )

    def __bool__(self) -> bool:
        return self != NO_BUDGET


NO_BUDGET = Budget()
