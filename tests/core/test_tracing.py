"""Reading W3C Trace Context."""

from __future__ import annotations

import pytest

from cco_sidecar.core.tracing import TraceContext

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("header", "flags"),
    [
        (f"00-{TRACE}-{SPAN}-01", 1),
        (f"00-{TRACE}-{SPAN}-00", 0),
        # Flags that are not defined are zero for the next (section 3.2.2.5).
        (f"00-{TRACE}-{SPAN}-ff", 3),
        # A later version is read as far as it is known (section 4.3).
        (f"cc-{TRACE}-{SPAN}-01", 1),
        (f"cc-{TRACE}-{SPAN}-01-what-else", 1),
    ],
)
def test_a_context_is_read(header: str, flags: int) -> None:
    assert TraceContext.parse(header) == (TRACE, SPAN, flags, "")


@pytest.mark.parametrize(
    "header",
    [
        "",
        "nonsense",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01-",
        f"cc-{TRACE}-{SPAN}-01.what",
        f"cc-{TRACE}-{SPAN}-011",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
    ],
)
def test_what_is_none_is_ignored(header: str) -> None:
    assert TraceContext.parse(header) is None


def test_a_long_state_is_dropped_and_the_context_kept() -> None:
    header = f"00-{TRACE}-{SPAN}-01"
    assert TraceContext.parse(header, "a=" + "1" * 510) == (TRACE, SPAN, 1, "a=" + "1" * 510)
    assert TraceContext.parse(header, "a=" + "1" * 511) == (TRACE, SPAN, 1, "")
