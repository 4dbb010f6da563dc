"""Files that a context left out: the same rules, the lines that were asked for."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import requests
from tests.support.repositories import commit_all
from tests.wire import shapes
from tests.wire.shapes import assert_shape

from cco_sidecar.core.errors import SidecarError
from cco_sidecar.repository.watch import NO_QUEUE
from cco_sidecar.services.context.files import parse_lines
from cco_sidecar.services.context.worker import Worker
from cco_sidecar.testing.process import SidecarProcess
from orchestra.v1.context_service_pb2 import FileContent

KEY = "ghp_" + "Zq3xW7eR5tY9uI1oP2aS4dF6gH8jK0lM" + "abcd"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "src").mkdir(parents=True)
    (root / "src" / "app.py").write_text("".join(f"line {n}\n" for n in range(1, 11)))
    (root / "src" / "end.py").write_text(f"first\ntoken = '{KEY}'\nlast")
    (root / "src" / "empty.py").write_text("")
    (root / ".env").write_text("A=1")
    (root / ".gitignore").write_text("ignored.py\n")
    (root / "link.py").symlink_to("/etc/passwd")
    (root / "image.png").write_bytes(b"\x89PNG\0\0")
    commit_all(root)
    (root / "ignored.py").write_text("x = 1\n")
    return root


def read(root: Path, *paths: str, lines: str = "") -> list[FileContent]:
    with tempfile.TemporaryDirectory() as storage:
        worker = Worker(NO_QUEUE, Path(storage), 2**26, [root])
        digest = worker.scan(root, afresh=False, keep=False).digest
        return [FileContent.FromString(each) for each in worker.files(root, digest, paths, parse_lines(lines))]


@pytest.mark.parametrize(
    ("lines", "shown", "first", "last"),
    [
        ("", range(1, 11), 1, 10),
        ("3-5", range(3, 6), 3, 5),
        ("9-", range(9, 11), 9, 10),
        ("7", range(7, 8), 7, 7),
        ("9-200", range(9, 11), 9, 10),
    ],
)
def test_lines(root: Path, lines: str, shown: range, first: int, last: int) -> None:
    (file,) = read(root, "./src/app.py", lines=lines)
    assert file.content == "".join(f"line {n}\n" for n in shown)
    assert (file.first_line, file.last_line, file.line_count) == (first, last, 10)


@pytest.mark.parametrize(
    ("lines", "said"), [("40-50", "has 10 lines"), ("5-3", "the last line comes before the first")]
)
def test_lines_that_are_not_there(root: Path, lines: str, said: str) -> None:
    with pytest.raises(SidecarError, match=said):
        read(root, "src/app.py", lines=lines)


def test_secrets_are_masked_and_named(root: Path) -> None:
    (file,) = read(root, "src/end.py")
    assert file.content == "first\ntoken = '[masked]'\nlast"
    assert [(each.line, each.rule) for each in file.masked_secrets] == [(2, "github-token")]
    (file,) = read(root, "src/end.py", lines="3-3")
    assert (file.content, list(file.masked_secrets)) == ("last", [])


def test_several_files_in_the_order_of_the_request(root: Path) -> None:
    assert [file.path for file in read(root, "src/end.py", "src/app.py", "src/empty.py")] == [
        "src/end.py",
        "src/app.py",
        "src/empty.py",
    ]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (".env", "secret_file"),
        ("link.py", "symlink"),
        ("ignored.py", ""),
        ("../other", ""),
        ("/etc/passwd", ""),
        (".git/config", ""),
        ("src", ""),
        ("image.png", "binary"),
        ("absent.py", ""),
    ],
)
def test_what_no_context_has_is_not_found(root: Path, path: str, reason: str) -> None:
    with pytest.raises(SidecarError) as caught:
        read(root, path)
    assert caught.value.code == "CTX_003" and reason in str(caught.value)


@pytest.mark.parametrize("lines", ["0", "0-5", "5-0", "x", "-5", "1-2-3", "1,2"])
def test_lines_that_are_no_range(lines: str) -> None:
    with pytest.raises(SidecarError) as caught:
        parse_lines(lines)
    assert caught.value.code == "REQ_001" and "lines" in str(caught.value)


def test_the_lines_of_several_files(root: Path) -> None:
    assert [file.content for file in read(root, "src/app.py", "src/end.py", lines="1-1")] == ["line 1\n", "first\n"]


def test_over_rest_an_edit_is_seen_at_once(tmp_path: Path, root: Path) -> None:
    sidecar = SidecarProcess(tmp_path / "storage", root)
    agent = sidecar.agent(project="default")
    path = f"{sidecar.url}/api/context/{agent.issue}/{agent.type}/files"
    for number in range(3):
        (root / "src" / "app.py").write_text(f"version {number}\n")
        answer = requests.get(path, params={"path": "src/app.py,src/end.py"}, headers=agent.headers, timeout=30)
        assert answer.status_code == 200, answer.text
        assert_shape(answer.json(), shapes.FILES)
        assert answer.json()["files"][0]["content"] == f"version {number}\n"
    for query, status in (({"path": ".env"}, 404), ({}, 400), ({"path": "src/app.py", "lines": "0"}, 400)):
        assert requests.get(path, params=query, headers=agent.headers, timeout=30).status_code == status
    sidecar.stop()
