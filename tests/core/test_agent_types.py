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
    "no object": ([], "must be a JSON object"),
    "no list": ({"codingAgents": "x"}, "'codingAgents' must be a list of agent types"),
    "no entry": ({"codingAgents": [MINE, 7]}, "codingAgents[1] must be an object with 'type', 'name' and 'role'"),
    "no type": ({"codingAgents": [{"name": "Mine"}]}, "codingAgents[0]: 'type' must be a name such as"),
    "the operator": ({"codingAgents": [{"type": "operator"}]}, "codingAgents[0]: 'type' must be a name such as"),
    "a permission": (
        {"codingAgents": [MINE | {"permissions": ["read_all"]}]},
        "codingAgents[0]: unknown permission 'read_all'; known: read_context, write_results, publish_events",
    ),
    "a file set": ({"codingAgents": [MINE | {"file_patterns": ["@pithon"]}]}, "there is no file set 'pithon'"),
    "a list": ({"codingAgents": [MINE | {"languages": "go"}]}, "codingAgents[0]: 'languages' must be a list"),
    "rules": ({"nextAgents": {}}, "'nextAgents' must be a list of rules"),
    "a mistyped group": ({"codingAgent": [MINE]}, "unknown key 'codingAgent'; did you mean 'codingAgents'?"),
    "a mistyped section": ({"filesets": {}}, "unknown key 'filesets'; did you mean 'fileSets'?"),
    "a mistyped key": (
        {"codingAgents": [MINE | {"permission": []}]},
        "codingAgents[0]: unknown key 'permission'; did you mean 'permissions'?",
    ),
    "a mistyped default": (
        {"groupDefaults": {"documentations": []}},
        "groupDefaults: unknown key 'documentations'; did you mean 'documentation'?",
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
    assert says.removeprefix("must be a ") in problem and str(tmp_path / "config") in problem


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
