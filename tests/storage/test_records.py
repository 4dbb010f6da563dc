"""The database."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import sqlalchemy as sa

from cco_sidecar.core.errors import SidecarError
from cco_sidecar.storage.records import Records


async def test_an_error_holds_none_of_what_was_to_be_written(tmp_path: Path) -> None:
    """It is logged with its cause, and the row may hold a task or an environment."""
    change = sa.text("INSERT INTO nowhere VALUES (:task)").bindparams(task="s3cr3t-of-a-task")
    with contextlib.closing(Records(tmp_path / "records.db")) as records, pytest.raises(SidecarError) as failed:
        await records.write(lambda connection: connection.execute(change))
    assert failed.value.code == "STR_001"
    assert "nowhere" in str(failed.value.__cause__) and "s3cr3t" not in str(failed.value.__cause__)
