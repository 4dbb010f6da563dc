"""The chain of the security log: what was changed, removed, added or cut off shows; crashes and rotation do not break it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cco_sidecar.core import audit
from cco_sidecar.core.audit import ChainedFile, files_of, verify
from cco_sidecar.core.logs import JsonLines


def opened(path: Path, *, most_bytes: int = 10_000_000, files: int = 5) -> ChainedFile:
    handler = ChainedFile(path, most_bytes=most_bytes, files=files)
    handler.setFormatter(JsonLines())
    return handler


def write(handler: ChainedFile, *messages: str) -> None:
    for message in messages:
        handler.emit(logging.makeLogRecord({"msg": message, "levelname": "INFO", "name": "security", "event": "x"}))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of ten lines."""
    path = tmp_path / "security.log"
    handler = opened(path)
    write(handler, *(f"event {number}" for number in range(10)))
    handler.close()
    return path


def problems(path: Path) -> list[tuple[int, str]]:
    return [(problem.line, problem.text) for problem in verify(files_of(path)).problems]


def test_what_was_written_holds(log: Path) -> None:
    found = verify([log])
    assert (found.lines, found.first, found.problems) == (10, audit.START, [])
    assert audit.holds([log], found.head) and not audit.holds([log], "1" * 64)


def edited(path: Path, edit: object) -> None:
    lines = path.read_text().splitlines(keepends=True)
    edit(lines)  # type: ignore[operator]
    path.write_text("".join(lines))


def test_a_changed_line_shows(log: Path) -> None:
    edited(log, lambda lines: lines.__setitem__(4, lines[4].replace("event 4", "event 5")))
    assert problems(log) == [(5, "changed: its hash is that of another text")]


def test_a_removed_line_shows(log: Path) -> None:
    edited(log, lambda lines: lines.pop(4))
    assert problems(log) == [(5, "a line before it is missing, changed or new")]


def test_a_line_with_a_hash_of_its_own_shows(log: Path) -> None:
    """Whoever changes a line can compute its hash, but not that of the next one without changing all that follow."""

    def forge(lines: list[str]) -> None:
        link = audit.link_of(lines[4].rstrip("\n"))
        assert link is not None
        lines[4] = audit.chained('{"message":"forged"}', link.previous)[0] + "\n"

    edited(log, forge)
    assert problems(log) == [(6, "a line before it is missing, changed or new")]


def test_two_exchanged_lines_show(log: Path) -> None:
    edited(log, lambda lines: lines.insert(3, lines.pop(4)))
    assert [line for line, _ in problems(log)] == [4, 5, 6]


def test_a_line_that_is_none_shows(log: Path) -> None:
    edited(log, lambda lines: lines.insert(3, '{"message":"no hash"}\n'))
    assert problems(log) == [(4, "not a line of the chain")]


def test_lines_cut_off_at_the_end_show_by_the_last_hash(log: Path) -> None:
    head = verify([log]).head
    edited(log, lambda lines: lines.__delitem__(slice(7, None)))
    assert problems(log) == [] and not audit.holds([log], head)


def test_the_chain_goes_on_after_a_restart_and_through_rotated_files(tmp_path: Path) -> None:
    path = tmp_path / "security.log"
    for start in range(0, 60, 20):
        handler = opened(path, most_bytes=2000, files=20)
        write(handler, *(f"event {number}" for number in range(start, start + 20)))
        handler.close()
    files = files_of(path)
    assert len(files) > 4
    found = verify(files)
    assert (found.lines, found.first, found.problems) == (60, audit.START, [])
    # The oldest file may be gone.
    assert verify(files[1:]).problems == [] and verify(files[1:]).first != audit.START
    files[2].unlink()
    assert len(verify(files_of(path)).problems) == 1


def test_a_line_cut_off_by_a_crash_does_not_break_the_chain(log: Path) -> None:
    with open(log, "a") as file:
        file.write('{"timestamp":"20')
    handler = opened(log)
    write(handler, "after the crash")
    handler.close()
    found = verify([log], complete=True)
    assert (found.lines, found.cut_off, found.problems) == (12, 1, [])


def test_what_a_crash_left_can_still_not_be_changed(log: Path) -> None:
    with open(log, "ab") as file:
        file.write(b'{"message":"caf\xc3')
    handler = opened(log)
    write(handler, "after the crash")
    handler.close()
    assert problems(log) == []
    log.write_bytes(log.read_bytes().replace(b"caf\xc3", b"tea\xc3"))
    assert problems(log) == [(11, "not a line of the chain")]


def test_what_other_programs_take_for_the_end_of_a_line_does_not_break_the_chain(log: Path) -> None:
    for _ in range(2):
        handler = opened(log)
        write(handler, "one\u2028two\u0085three")
        handler.close()
    assert problems(log) == [] and verify([log]).lines == 12


def test_a_full_disk_does_not_break_the_chain(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    handler = opened(log)
    write(handler, "event 10")
    stream = handler.stream

    class Full:
        def write(self, data: bytes) -> int:
            """As a full disk does: what fits is written."""
            return stream.write(data[:30])  # type: ignore[arg-type]

        def __getattr__(self, name: str) -> object:
            return getattr(stream, name)

    handler.stream = Full()  # type: ignore[assignment]
    write(handler, "lost", "lost too")
    handler.stream = stream
    write(handler, "kept")
    handler.close()
    found = verify([log], complete=True)
    assert (found.lines, found.cut_off, found.problems) == (13, 2, [])
    assert "kept" in log.read_text().splitlines()[-1]


def test_a_removed_beginning_shows(log: Path) -> None:
    edited(log, lambda lines: lines.__delitem__(slice(0, 2)))
    assert problems(log) == []
    assert [each.text for each in verify([log], complete=True).problems] == ["the lines before it are missing"]


def test_lines_of_an_earlier_version_come_before_the_chain(tmp_path: Path) -> None:
    path = tmp_path / "security.log"
    path.write_text('{"message":"an old line"}\n{"message":"another"}\n')
    handler = opened(path)
    write(handler, "new")
    handler.close()
    found = verify([path], complete=True)
    assert (found.older, found.lines, found.problems) == (2, 1, [])


def test_the_log_goes_on_when_its_files_cannot_be_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    path = tmp_path / "security.log"
    handler = opened(path, most_bytes=1000, files=2)
    blocked = [path.with_name(f"security.log.{number}") for number in (1, 2)]
    for each in blocked:
        (each / "inside").mkdir(parents=True)
    write(handler, *(f"event {number}" for number in range(10)))
    assert verify([path], complete=True).lines == 10
    for each in blocked:
        (each / "inside").rmdir()
        each.rmdir()
    write(handler, *(f"event {number}" for number in range(10, 13)))
    handler.close()
    found = verify(files_of(path), complete=True)
    assert (found.lines, found.problems, len(files_of(path))) == (13, [], 2)


@pytest.mark.parametrize("extra", [{"file": "c\udcff/c.pem"}, {"n": 2**70}, {"counts": {1: 2}}, {"odd": {(1, 2): 3}}])
def test_a_line_of_anything_is_written(tmp_path: Path, extra: dict[str, object]) -> None:
    path = tmp_path / "security.log"
    handler = opened(path)
    handler.emit(logging.makeLogRecord({"msg": "said", "levelname": "INFO", "name": "security"} | extra))
    handler.close()
    assert '"message":"said"' in path.read_text() and verify([path], complete=True).lines == 1


@given(st.text(), st.text(alphabet="0123456789abcdef", min_size=64, max_size=64))
def test_any_text_is_chained_and_found(text: str, previous: str) -> None:
    record = logging.makeLogRecord({"msg": "%s", "args": (text,), "levelname": "INFO", "name": "security"})
    line, digest = audit.chained(JsonLines().format(record), previous)
    assert "\n" not in line and audit.link_of(line) == (previous, digest, True)
