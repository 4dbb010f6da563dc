"""The wall clock, as one object that tests can move."""

from __future__ import annotations

import time

from google.protobuf.timestamp_pb2 import Timestamp

# It goes on while the machine sleeps (clock_gettime(2)).
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_OFFSET = time.time_ns() - time.clock_gettime_ns(_STEADY)


class Clock:
    """Wall time. Microseconds are the unit of what is stored, seconds of what a JWT holds."""

    def micros(self) -> int:
        return time.time_ns() // 1000

    def seconds(self) -> float:
        return self.micros() / 1e6

    def steady_micros(self) -> int:
        """The wall time of the start, and what has passed since: no change of the wall clock moves it. What is deleted
        for its age is judged by it."""
        return (time.clock_gettime_ns(_STEADY) + _OFFSET) // 1000

    def timestamp(self) -> Timestamp:
        return timestamp(self.micros())


def timestamp(micros: int) -> Timestamp:
    """A protobuf Timestamp of microseconds since 1970 UTC."""
    seconds, rest = divmod(micros, 1_000_000)
    return Timestamp(seconds=seconds, nanos=rest * 1000)


def micros_of(stamp: Timestamp) -> int:
    """Microseconds since 1970 UTC of a protobuf Timestamp."""
    return stamp.seconds * 1_000_000 + stamp.nanos // 1000
