"""Errors that leave their process, as those of a pool do."""

from __future__ import annotations

import copy
import pickle

import pytest

from cco_sidecar.client.errors import UnavailableError
from cco_sidecar.core.errors import Kind, SidecarError


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
@pytest.mark.parametrize("error_type", [SidecarError, UnavailableError])
def test_an_error_is_copied_and_pickled(error_type: type[SidecarError], again: object) -> None:
    error = error_type(Kind.UNAVAILABLE, "STR_001", "away", details={"a": 1}, field="storage", retry_after_seconds=2.0)
    copied = again(error)  # type: ignore[operator]
    assert type(copied) is error_type and str(copied) == "away" and copied.__dict__ == error.__dict__
