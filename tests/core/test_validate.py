"""Rules of fields: what is set is checked."""

from __future__ import annotations

import pytest

from cco_sidecar.core.errors import SidecarError
from cco_sidecar.core.validate import validate
from orchestra.v1.config_pb2 import HandoverConfig


def test_a_choice_may_be_set_to_nothing() -> None:
    validate(HandoverConfig(mode=""))
    with pytest.raises(SidecarError, match="is not one of"):
        validate(HandoverConfig(mode="sometimes"))
