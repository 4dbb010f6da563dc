"""The wall clock, as one object that tests can move."""

from __future__ import annotations

import time

from google.protobuf.timestamp_pb2 import Timestamp


class Clock:
    """Wall time. Microseconds are the unit of what is stored, seconds of what a JWT holds."""

    def micros(self) -> int:
        return time.time_ns() // 1000

    def seconds(self) -> float:
        return self.micros() / 1e6

    def timestamp(self) -> Timestamp:
        return timestamp(self.micros())


def timestamp(micros: int) -> Timestamp:
    """A protobuf Timestamp of microseconds since 1970 UTC."""
    seconds, rest = divmod(micros, 1_000_000)
    return Timestamp(seconds=seconds, nanos=rest * 1000)


def micros_of(stamp: Timestamp) -> int:
    """Microseconds since 1970 UTC of a protobuf Timestamp."""
    return stamp.seconds * 1_000_000 + stamp.nanos // 1000
