"""What `cco doctor` finds, asked of the server."""

from __future__ import annotations

from pathlib import Path

import pytest

from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import SidecarError, internal
from cco_sidecar.core.settings import Settings
from cco_sidecar.services.system.doctor import Doctor
from cco_sidecar.testing.process import SidecarProcess


def test_the_findings_are_those_of_the_command(sidecar: SidecarProcess) -> None:
    answer = sidecar.request("GET", "/api/findings", sidecar.operator, timeout=120).json()
    names = {finding["name"] for finding in answer["findings"]}
    assert {"storage", "database", "port", "gRPC port", "token"} <= names and answer["checked_at"]
    assert all(finding["level"] in ("ok", "warning", "broken") for finding in answer["findings"])
    assert f"{sidecar.port} answers" in {finding["text"] for finding in answer["findings"]}


async def test_nothing_is_imported_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the repository, and agents write there."""
    for name in ("orjson", "click", "psutil", "cco_sidecar"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nraise SystemExit(9)\n")
    monkeypatch.chdir(tmp_path)
    found = await Doctor(Settings(storage=tmp_path / "storage", project_root=tmp_path), Clock()).findings()
    assert found.findings and not (tmp_path / "ran").exists()


async def test_a_failure_is_not_tried_at_every_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    async def failing(self: Doctor) -> None:
        calls.append(self)
        raise internal("INT_001", "x")

    monkeypatch.setattr(Doctor, "_run", failing)
    made = Doctor(Settings(storage=tmp_path), Clock())
    for _ in range(2):
        with pytest.raises(SidecarError):
            await made.findings()
    assert len(calls) == 1
