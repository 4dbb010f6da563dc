"""Untrusted text cannot control a terminal, and passes through a pipe unchanged."""

from __future__ import annotations

import io
import sys

import pytest

from cco_sidecar.cli.terminal import echo, one_line, visible

HIDING = "audit failed\x1b[1A\x1b[2Kall is well"


class Terminal(io.TextIOWrapper):
    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8")

    def isatty(self) -> bool:
        return True

    @property
    def shown(self) -> str:
        self.flush()
        return self.buffer.getvalue().decode()  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (HIDING, r"audit failed\x1b[1A\x1b[2Kall is well"),
        ("a\x9b2Kb\x07", r"a\x9b2Kb\x07"),
        ("safe\u202egnp.exe", r"safe\u202egnp.exe"),
        ("\u2066x\u2069", r"\u2066x\u2069"),
        ("50 %\r100 %", r"50 %\r100 %"),
        ("\udcff", r"\udcff"),
        ("tab\tand line\nend", "tab\tand line\nend"),
        ("Grüße, 漢字, 👩\u200d🔬", "Grüße, 漢字, 👩\u200d🔬"),
    ],
)
def test_control_characters_are_made_visible_on_a_terminal(
    text: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert visible(text) == shown
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    echo(text)
    assert terminal.shown == shown + "\n"


def test_a_pipe_gets_the_text_unchanged(capsys: pytest.CaptureFixture[str]) -> None:
    echo(HIDING)
    echo(HIDING, err=True)
    assert capsys.readouterr() == (HIDING + "\n", HIDING + "\n")


def test_a_table_cell_is_one_line() -> None:
    assert one_line("one\ntwo\tthree\x1b[A") == r"one two three\x1b[A"
