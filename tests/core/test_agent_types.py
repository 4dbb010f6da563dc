"""The project's own agent types: errors are reported with their location."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.sidecars import call, small_repository

from cco_sidecar.storage.trust import load_agent_types
from cco_sidecar.testing.process import SidecarProcess

MINE = {"type": "my-custom-agent"}
WRONG: dict[str, tuple[Any, str]] = {
    "no object": ([], "a JSON object"),
    "no list": ({"codingAgents": "x"}, "codingAgents: expected an object or an array, got"),
    "no entry": ({"codingAgents": [MINE, 7]}, "codingAgents[1]: expected an object, got 7"),
    "no type": ({"codingAgents": [{"name": "Mine"}]}, "codingAgents[0].type"),
    "the operator": ({"codingAgents": [{"type": "operator"}]}, "codingAgents[0].type"),
    "a permission": (
        {"codingAgents": [MINE | {"permissions": ["read_all"]}]},
        "codingAgents[0].permissions: 'read_all' is not one of: read_context, write_results, publish_events",
    ),
    "a file set": (
        {"codingAgents": [MINE | {"file_patterns": ["@pithon"]}]},
        "file set 'pithon' not found in fileSets",
    ),
    "a list": ({"codingAgents": [MINE | {"languages": "go"}]}, "codingAgents[0].languages: expected an array"),
    "rules": ({"nextAgents": {}}, "nextAgents: expected an array"),
    "a mistyped group": ({"codingAgent": [MINE]}, "has no field 'codingAgent'; did you mean 'codingAgents'?"),
    "a mistyped section": ({"filesets": {}}, "has no field 'filesets'; did you mean 'fileSets'?"),
    "a mistyped key": (
        {"codingAgents": [MINE | {"permission": []}]},
        "codingAgents[0] has no field 'permission'; did you mean 'permissions'?",
    ),
    "a mistyped default": (
        {"groupDefaults": {"documentations": []}},
        "groupDefaults: group 'documentations' not found",
    ),
}


def with_types(root: Path, document: Any) -> Path:
    (root / "config").mkdir(parents=True)
    (root / "config" / "orchestra-config.json").write_text(json.dumps(document))
    return root


@pytest.mark.parametrize("name", WRONG)
def test_errors_name_their_location(tmp_path: Path, name: str) -> None:
    document, says = WRONG[name]
    (problem,) = load_agent_types(with_types(tmp_path, document)).problems
    assert says in problem and str(tmp_path / "config") in problem


def test_an_error_is_reported_and_the_sidecar_still_starts(tmp_path: Path) -> None:
    root = with_types(small_repository(tmp_path / "root"), {"codingAgent": [MINE]})
    sidecar = SidecarProcess(tmp_path / "storage", root)
    try:
        (problem,) = call(sidecar, "GET", "/status")["storage"]["problems"]
        assert "did you mean 'codingAgents'?" in problem
    finally:
        assert "did you mean 'codingAgents'?" in sidecar.stop(), "the user is warned at startup"


def test_unknown_keys_are_ignored(tmp_path: Path) -> None:
    types = load_agent_types(with_types(tmp_path, {"$schema": "x", "theme": {}, "codingAgents": [MINE | {"color": 1}]}))
    assert types["my-custom-agent"].group == "coding" and len(types) == 120
