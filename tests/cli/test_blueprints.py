"""`cco blueprints`: what a person makes, moves and reads."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import yaml
from tests.support.sidecars import fresh

from cco_sidecar.testing.process import SidecarProcess, run_cco


def done(sidecar: SidecarProcess, *arguments: str) -> str:
    ran = run_cco(sidecar, "blueprints", *arguments)
    assert ran.returncode == 0, ran.stderr
    return str(ran.stdout)


def shown(sidecar: SidecarProcess, name: str) -> Any:
    return json.loads(done(sidecar, "show", name, "--format", "json"))


def test_a_blueprint_is_made_from_files_and_changed(sidecar: SidecarProcess, tmp_path: Path) -> None:
    name = fresh("web")
    (tmp_path / "prompt.md").write_text("Cite sources.\n")
    (tmp_path / "mcp.json").write_text('{"mcpServers": {"pw": {"command": "npx", "args": ["x"]}}}')
    (tmp_path / "schema.json").write_text('{"required": ["q"]}')
    options = ("--system-prompt", str(tmp_path / "prompt.md"), "--mcp-config", str(tmp_path / "mcp.json"))
    schemas = ("--parameters-schema", str(tmp_path / "schema.json"), "--tags", "a,b", "--group", "research")
    assert done(sidecar, "create", name, "--description", "d", *options, *schemas) == f"made blueprint {name}\n"
    found = shown(sidecar, name)
    assert (found["system_prompt"], found["mcp_servers"]["pw"]["args"]) == ("Cite sources.\n", ["x"])
    assert (found["parameters_schema"], found["tags"], found["group"]) == ({"required": ["q"]}, ["a", "b"], "research")
    assert f"{name}: d\n" in done(sidecar, "list", "--tags", "b")
    assert "python-specialist" in done(sidecar, "list", "--all")
    assert yaml.safe_load(done(sidecar, "show", name))["name"] == name
    done(sidecar, "update", name, "--description", "e", "--clear", "tags", "--clear", "mcp_servers")
    done(sidecar, "deactivate", name)
    found = shown(sidecar, name)
    assert (found["description"], found["tags"], found["mcp_servers"], found["status"]) == ("e", [], {}, "inactive")
    done(sidecar, "activate", name)
    assert shown(sidecar, name)["status"] == "active"
    done(sidecar, "delete", name)
    gone = run_cco(sidecar, "blueprints", "show", name)
    assert gone.returncode == 1 and f"blueprint '{name}' not found" in gone.stderr


def test_directories_are_imported_and_exported(sidecar: SidecarProcess, tmp_path: Path) -> None:
    given, target, name = tmp_path / "given", tmp_path / "target", fresh("moved")
    (given / name).mkdir(parents=True)
    (given / name / "agent.json").write_text(json.dumps({"name": name, "description": "d", "skills": ["csv"]}))
    (given / name / ".disabled").touch()
    (given / "bad").mkdir()
    (given / "bad" / "agent.json").write_text("[]")
    ran = run_cco(sidecar, "blueprints", "import", str(given))
    assert ran.returncode == 1 and "not imported: bad/agent.json: expected a JSON object" in ran.stderr
    assert shown(sidecar, name)["status"] == "inactive"
    done(sidecar, "export", str(target))
    assert json.loads((target / name / "agent.json").read_text())["skills"] == ["csv"]
    assert (target / name / ".disabled").exists()
    again = run_cco(sidecar, "blueprints", "export", str(target))
    assert again.returncode == 1 and "exists already" in again.stderr


def test_blueprints_are_in_the_backup(sidecar: SidecarProcess, tmp_path: Path) -> None:
    name = fresh("kept")
    done(sidecar, "create", name, "--description", "d")
    done(sidecar, "deactivate", name)
    backup = tmp_path / "backup.tar.gz"
    ran = run_cco(sidecar, "backup", str(backup))
    assert ran.returncode == 0, ran.stderr
    with tarfile.open(backup) as archive:
        assert {f"blueprints/{name}/agent.json", f"blueprints/{name}/.disabled"} <= set(archive.getnames())
