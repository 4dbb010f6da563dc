"""The clock, as an object that tests can replace."""

from __future__ import annotations

import time

from google.protobuf.timestamp_pb2 import Timestamp

# CLOCK_BOOTTIME also counts while the machine is suspended (clock_gettime(2)).
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_OFFSET = time.time_ns() - time.clock_gettime_ns(_STEADY)
# 9999-12-31T23:59:59.999999Z, the last that a Timestamp can be.
LAST_MICROS = 253_402_300_799_999_999


def uptime() -> float:
    """Returns the seconds since the machine started, those of its sleep included. Leases are measured by it: the others
    go on counting while this machine sleeps."""
    return time.clock_gettime(_STEADY)


class Clock:
    """Wall time since 1970 UTC: in microseconds for stored records, in seconds for JWTs."""

    def micros(self) -> int:
        return time.time_ns() // 1000

    def seconds(self) -> float:
        return self.micros() / 1e6

    def steady_micros(self) -> int:
        """Returns the wall time at startup plus the time elapsed since, in microseconds.

        Changes of the wall clock do not affect it. Used for retention and expiry.
        """
        return (time.clock_gettime_ns(_STEADY) + _OFFSET) // 1000

    def timestamp(self) -> Timestamp:
        return timestamp(self.micros())


class CorrectedClock(Clock):
    """The time that several machines share: it is asked for now and then, and counted on in between, so that nothing
    depends on the clock of this machine."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._behind = 0

    def micros(self) -> int:
        return self._clock.steady_micros() + self._behind

    def steady_micros(self) -> int:
        return self._clock.steady_micros()

    def correct(self, shared: int, least: int) -> None:
        """Sets the clock to a time of the shared one, in microseconds, unless it differs by less than ``least``."""
        if abs(shared - self.micros()) >= least:
            self._behind = shared - self._clock.steady_micros()


def timestamp(micros: int) -> Timestamp:
    """Converts microseconds since 1970 UTC to a protobuf Timestamp."""
    seconds, rest = divmod(micros, 1_000_000)
    return Timestamp(seconds=seconds, nanos=rest * 1000)


def micros_of(stamp: Timestamp) -> int:
    """Converts a protobuf Timestamp to microseconds since 1970 UTC."""
    return stamp.seconds * 1_000_000 + stamp.nanos // 1000
