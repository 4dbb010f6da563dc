"""The names that a manifest and an explanation use are all documented."""

from __future__ import annotations

import json
import re

import pytest
from tests.support.repositories import OURS

from cco_sidecar.core.reasons import Reason, Signal

SCHEMAS = json.loads((OURS / "gen" / "openapi" / "orchestra.v1.json").read_text())["components"]["schemas"]


def _named_in(text: str) -> set[str]:
    return set(re.findall(r"`([a-z_]+)`", text))


def test_every_reason_of_the_manifest_is_in_the_reference() -> None:
    reason = SCHEMAS["ManifestEntry"]["properties"]["reason"]["description"]
    of_signals = {Signal.NAMED_BY_TASK, Signal.NAMED_BY_FINDING, Signal.REQUIRED, Signal.NAMED_BY_DECISION}
    assert _named_in(reason) == {*Reason, *of_signals}


@pytest.mark.parametrize("place", ["the reference", "docs/context.md"])
def test_every_signal_is_explained(place: str) -> None:
    if place == "the reference":
        named = _named_in(json.dumps(SCHEMAS["Candidate"]))
    else:
        table = (OURS / "docs" / "context.md").read_text().partition("| signal | what it is |")[2].partition("\n\n")[0]
        named = set(re.findall(r"(?m)^\| `([a-z_]+)` \|", table))
    assert set(Signal) <= named
