"""Health checks cost little."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cco_sidecar.services.system import vitals
from cco_sidecar.services.system.vitals import Vitals


def test_the_machine_is_queried_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, asked = 1000.0, 0
    real = shutil.disk_usage

    def usage(path: Path) -> object:
        nonlocal asked
        asked += 1
        return real(path)

    monkeypatch.setattr(vitals.time, "monotonic", lambda: now)
    monkeypatch.setattr(vitals.shutil, "disk_usage", usage)
    watched = Vitals(tmp_path)
    first = watched.figures()
    assert first.memory > 2**20 and first.disk_free > 0 and watched.storage_writable()
    assert watched.figures() is first and asked == 1
    now += 1.1
    watched.figures()
    assert asked == 2


def test_a_missing_storage_has_no_space(tmp_path: Path) -> None:
    watched = Vitals(tmp_path / "gone")
    assert watched.figures().disk_free == 0 and not watched.storage_writable()
