"""`cco schemas`."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.commands import fails, printed

from cco_sidecar.testing.process import SidecarProcess, run_cco

PROJECT = ("--project", "project-schemas")


def test_a_schema_from_its_first_use_to_its_end(sidecar: SidecarProcess, tmp_path: Path) -> None:
    def cco(*line: str) -> str:
        return printed(run_cco(sidecar, *line, *PROJECT))

    file = tmp_path / "schema.json"
    file.write_text(json.dumps({"required": ["n"]}))
    assert cco("schemas", "set", "counted", str(file)) == "set the schema of counted\n"
    assert cco("schemas", "list") == "counted\n" and json.loads(cco("schemas", "show", "counted")) == {
        "required": ["n"]
    }
    event = ("events", "publish", "--event-type", "counted")
    fails(run_cco(sidecar, *event, *PROJECT), "data.n is required")
    cco(*event, "--data", '{"n": 1}')
    assert cco("schemas", "delete", "counted") == "deleted the schema of counted\n"
    fails(run_cco(sidecar, "schemas", "show", "counted", *PROJECT), "event type 'counted' has no schema")


def test_what_is_no_schema_is_refused(sidecar: SidecarProcess, tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    for text, says in [("{", "is not JSON"), ("[]", "must hold a JSON object"), ('{"type": "x"}', "schema.type: ")]:
        file.write_text(text)
        fails(run_cco(sidecar, "schemas", "set", "counted", str(file)), says)
