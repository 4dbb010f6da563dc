"""What commands write, whatever it contains and whoever reads it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from unittest import mock

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.support.terminals import Terminal

from cco_sidecar.cli import output
from cco_sidecar.testing.process import SidecarProcess


@pytest.mark.parametrize(
    "text", ["1e5", "25921e05", "0o17", "012", "1_000", "0x1F", ".5", "+1", "no", "null", "2026-11-26"]
)
def test_a_text_that_looks_like_something_else_is_quoted_in_yaml(text: str) -> None:
    written = output.encoded({"issue_id": text}, "yaml")
    assert written.removeprefix("issue_id: ")[0] in "'\"", written
    assert yaml.safe_load(written) == {"issue_id": text}


def test_a_text_is_not_quoted_without_need() -> None:
    assert output.encoded({"issue_id": "issue-1", "version": "1.2.3"}, "yaml") == "issue_id: issue-1\nversion: 1.2.3"


@given(st.text() | st.text(alphabet=" \n\tab:#-|>'\"\u2028\u0085\ufeff\x00\x07é😀"))
def test_yaml_holds_any_text(text: str) -> None:
    assert yaml.safe_load(output.encoded([{"summary": text}], "yaml")) == [{"summary": text}]


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "cco_sidecar.cli.main", "config", "schema"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, timeout=30, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_a_secret_does_not_keep_the_end_of_its_line(end: str) -> None:
    with mock.patch("sys.stdin", io.TextIOWrapper(io.BytesIO(f"secret{end}".encode()))):
        assert output.read_secret() == "secret"


@pytest.mark.parametrize("line", [("agent", "list", "--format", "table"), ("top", "--once")])
def test_styles_are_not_shown_as_text_on_a_terminal(sidecar: SidecarProcess, line: tuple[str, ...]) -> None:
    with Terminal(sidecar, *line) as terminal:
        terminal.end()
        assert "\\x1b" not in terminal.written
        assert "\x1b[1m" in terminal.written
