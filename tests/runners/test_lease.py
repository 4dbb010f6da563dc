"""Until when an agent of several sidecars may run: what its shim makes of the file."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from cco_sidecar.cluster.lease_file import LeaseFile
from cco_sidecar.runners.shim import Lease

_SECONDS = 20.0


def now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "storage").mkdir()
    return tmp_path / "storage" / "lease"


def test_it_is_over_when_its_time_has_passed(file: Path) -> None:
    lease = Lease(str(file), _SECONDS)
    file.write_text(f"{now() + 5}\n")
    assert not lease.is_over()
    file.write_text(f"{now() - 1}\n")
    assert lease.is_over()


@pytest.mark.parametrize("text", ["inf", "nan", "1e300", "", "soon", None])
def test_without_a_time_that_can_be_meant_the_last_one_counts(file: Path, text: str | None) -> None:
    file.write_text(f"{now() - 1}\n")
    lease = Lease(str(file), _SECONDS)
    assert lease.is_over()
    file.unlink()
    if text is not None:
        file.write_text(text)
    assert lease.is_over()


def test_without_any_time_it_lasts_as_long_as_a_lease(file: Path) -> None:
    assert not Lease(str(file), _SECONDS).is_over()
    assert Lease(str(file), -1.0).is_over()


def test_another_name_of_the_directory_changes_nothing(file: Path, tmp_path: Path) -> None:
    lease = Lease(str(file), _SECONDS)
    (tmp_path / "storage").rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "lease").write_text(f"{now() - 1}\n")
    assert lease.is_over()


def test_it_lasts_from_the_sign_of_life_on_and_ends_before_the_others_count_on_it(tmp_path: Path) -> None:
    lease = LeaseFile(tmp_path / "lease", 60.0)
    lease.renew(1000.0)
    assert float((tmp_path / "lease").read_text()) == 1000.0 + 60.0 - 8.0
    # A runner has what is left of its sidecar's own.
    lease.renew(1000.0, 30.5)
    assert float((tmp_path / "lease").read_text()) == 1000.0 + 30.5 - 8.0
