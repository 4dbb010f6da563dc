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


@pytest.mark.parametrize(
    "state", ["vendor=1", "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7", "a=1 , b=2", "t1@sys=x", "a=b c", "a=1,,b=2"]
)
def test_a_state_is_passed_on(state: str) -> None:
    assert TraceContext.parse(f"00-{TRACE}-{SPAN}-01", state) == (TRACE, SPAN, 1, state)


@pytest.mark.parametrize(
    "state",
    ["=bad", "also bad", ",,", "A=1", "a=1,a=2", "a=1=2", "a=b ,c", "a=\x7f", ",".join(f"k{n}=1" for n in range(33))],
)
def test_a_state_that_is_none_is_dropped(state: str) -> None:
    assert TraceContext.parse(f"00-{TRACE}-{SPAN}-01", state) == (TRACE, SPAN, 1, "")


def test_a_long_state_is_dropped_and_the_context_kept() -> None:
    header = f"00-{TRACE}-{SPAN}-01"
    longest = ",".join(f"{key}={'1' * 250}" for key in ("abc", "def")) + ",g=1"
    assert len(longest) == 513
    assert TraceContext.parse(header, longest) == (TRACE, SPAN, 1, "")
    assert TraceContext.parse(header, longest.replace("def", "de")) == (TRACE, SPAN, 1, longest.replace("def", "de"))
