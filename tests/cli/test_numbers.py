"""Sizes and times as people write them."""

from __future__ import annotations

import click
import pytest

from cco_sidecar.cli.numbers import Duration, Seconds, Size

SIZE = Size(4096, 10 * 2**20)


@pytest.mark.parametrize(
    ("written", "bytes_"),
    [
        ("128000", 128_000),
        ("32k", 32_000),
        ("32K", 32_000),
        ("64kB", 64_000),
        ("64KiB", 65_536),
        ("64 ki", 65_536),
        ("1M", 10**6),
        ("0.5M", 500_000),
        ("10MiB", 10 * 2**20),
    ],
)
def test_sizes(written: str, bytes_: int) -> None:
    assert SIZE.convert(written, None, None) == bytes_


@pytest.mark.parametrize("written", ["", "k", "128 kilobytes", "1G", "-32k", "1e5", "0x1000"])
def test_others_say_what_would_be_right(written: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a size"):
        SIZE.convert(written, None, None)


@pytest.mark.parametrize("written", ["4k", "11M"])
def test_limits(written: str) -> None:
    with pytest.raises(click.BadParameter, match="is not in the range 4096<=x<=10485760"):
        SIZE.convert(written, None, None)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Seconds(1, 86_400), "90", 90),
        (Seconds(1, 86_400), "90s", 90),
        (Seconds(1, 86_400), "10m", 600),
        (Seconds(1, 86_400), "1.5h", 5400),
        (Seconds(1, 86_400), "1d", 86_400),
        (Duration(min=0), "0.5", 0.5),
        (Duration(min=0), "0.5m", 30.0),
    ],
)
def test_times_have_the_usual_units(kind: click.ParamType, text: str, value: float) -> None:
    assert kind.convert(text, None, None) == value


@pytest.mark.parametrize("text", ["2d", "0s", "1.5s", "1h30m", "-1m", "m", "1 h"])
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match=r"is not a time; write|not in the range|not a whole number"):
        Seconds(1, 86_400).convert(text, None, None)
