"""SidecarError: where in a request an error is, and its size."""

from __future__ import annotations

import pytest

from cco_sidecar.core.errors import Kind, OutcomeUnknown, SidecarError, invalid_event


@pytest.mark.parametrize(
    ("message", "field", "expected"),
    [
        ("data.n: 5 is too much", "data.n", "events[3].data.n: 5 is too much"),
        ("data.n is required", "data.n", "events[3].data.n is required"),
        ("database is away", "data", "events[3]: database is away"),
        ("it has 300 bytes", "data", "events[3]: it has 300 bytes"),
    ],
)
def test_an_error_about_a_part_says_which(message: str, field: str, expected: str) -> None:
    error = invalid_event(message, field=field, last="x").within("events[3]")
    assert error.message == str(error) == expected
    assert error.details == {"last": "x", "field": f"events[3].{field}"} and error.field == f"events[3].{field}"


def test_an_error_without_a_field_is_about_the_whole_part() -> None:
    error = OutcomeUnknown(Kind.INTERNAL, "STR_001", "lost", retry_after_seconds=1).within("events[0]")
    assert isinstance(error, OutcomeUnknown) and error.retry_after_seconds == 1
    assert (error.message, error.field) == ("events[0]: lost", "events[0]")


def test_an_error_fits_into_the_metadata_of_a_call() -> None:
    """Clients allow 8 KB; a character may be four bytes, and a byte three characters."""
    error = SidecarError(Kind.CONFLICT, "EVT_003", "\N{OCTOPUS}" * 6000, field="ż" * 6000)
    assert error.message.endswith("...") and len(error.message.encode()) <= 500
    assert error.field is not None and len(error.field.encode()) <= 250
