"""`cco config`: what is in force, where it comes from, and nothing that is secret."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from tests.support.commands import fails, in_process

PASSWORD = "h1dden-password"
SECRET = "s1gning-secret-of-more-than-thirty-two-bytes"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.json"
    path.write_text(
        json.dumps(
            {
                "sidecar": {
                    "port": 4001,
                    "jwt_secret": SECRET,
                    "database_url": f"postgresql://user:{PASSWORD}@db.example/records?password={PASSWORD}",
                },
                "agents": {
                    "runners": {"default": {"command": ["run", "{task}"], "environment": {"TOKEN": PASSWORD}}},
                },
            }
        )
    )
    return path


def test_the_values_in_force_are_shown_with_their_origin(config: Path) -> None:
    done = in_process("--config", str(config), "config", "show", "--origin", "--format", "json")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["port"] == {"value": 4001, "origin": str(config)}
    assert "host" not in shown
    assert shown["runners"]["value"]["default"]["command"] == ["run", "{task}"]


def test_settings_with_their_default_are_shown_on_request(config: Path) -> None:
    done = in_process("--config", str(config), "config", "show", "--all", "--origin", "--format", "json")
    assert json.loads(done.stdout)["host"] == {"value": "127.0.0.1", "origin": "default"}


@pytest.mark.parametrize("form", ["text", "json", "yaml"])
def test_secrets_are_hidden(config: Path, form: str) -> None:
    done = in_process("--config", str(config), "config", "show", "--format", form)
    assert done.returncode == 0 and "db.example/records" in done.stdout
    assert PASSWORD not in done.stdout and SECRET not in done.stdout


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"sidecar": {"database_url": f"mysql://user:{PASSWORD}@db/x"}}, "sidecar.database_url: invalid value: "),
        ({"sidecar": {"jwt_secret": [PASSWORD]}}, "sidecar.jwt_secret: invalid value: "),
        ({"sidecar": {"port": "many"}}, "sidecar.port: invalid value 'many': expected an integer from 0 to 65535"),
    ],
)
def test_a_problem_is_named_without_showing_a_secret(tmp_path: Path, document: object, says: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(document))
    done = in_process("--config", str(path), "config", "check")
    fails(done, says)
    assert PASSWORD not in done.stderr


def test_backup_and_restore_refuse_a_database(config: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.tar.gz"
    fails(in_process("--config", str(config), "backup", str(copy)), "pg_dump")
    copy.touch()
    fails(in_process("--config", str(config), "restore", str(copy)), "PostgreSQL")


@pytest.mark.parametrize("document", ["config", "agent-types"])
def test_the_schema_of_a_document_is_printed(document: str) -> None:
    done = in_process("config", "schema", document)
    assert done.returncode == 0, done.stderr
    schema = json.loads(done.stdout)
    jsonschema_rs.validator_for(schema)
    assert ("sidecar" in schema["properties"]) == (document == "config")


@pytest.mark.parametrize(
    ("value", "valid"),
    [
        ({"$schema": "config.schema.json", "$comment": "ours"}, True),
        ({"sidecar": {"port": 3001, "$comment": "ours"}}, True),
        ({"agents": {"rate_limits": {"coding": {"requests_per_minute": 30, "$comment": "slow"}, "quality": 9}}}, True),
        ({"agents": {"runners": {"default": {"preset": "claude", "$comment": "ours"}}}}, True),
        ({"agents": {"runners": {"default": {"preset": "claude", "limits": {"$comment": "no"}}}}}, False),
        ({"agents": {"handover": {"mode": "off", "$comment": "ours", "rules": []}}}, True),
        ({"sidecar": {"prot": 3001}}, False),
        ({"sidecar": {"port": "x"}}, False),
    ],
)
def test_the_schema_accepts_what_the_sidecar_accepts(tmp_path: Path, value: dict[str, Any], valid: bool) -> None:
    schema = json.loads(in_process("config", "schema").stdout)
    assert jsonschema_rs.is_valid(schema, value) == valid
    path = tmp_path / "config.json"
    path.write_text(json.dumps(value))
    done = in_process("--config", str(path), "config", "check")
    assert (done.returncode == 0) == valid, done.stderr
