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
                    "bus_url": f"nats://nats-1:4222,tls://user:{PASSWORD}@nats-2:4222",
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
    assert shown["sidecar.port"] == {"value": 4001, "origin": str(config)}
    assert "sidecar.host" not in shown
    assert shown["agents.runners"]["value"]["default"]["command"] == ["run", "{task}"]


def test_settings_with_their_default_are_shown_on_request(config: Path) -> None:
    done = in_process("--config", str(config), "config", "show", "--all", "--origin", "--format", "json")
    shown = json.loads(done.stdout)
    assert shown["sidecar.host"] == {"value": "127.0.0.1", "origin": "default"}
    assert shown["sidecar.grpc_port"]["value"] == 4002 and shown["CCO_SIDECAR_PID_FILE"]["value"].endswith(".pid")


def test_what_is_shown_can_be_written_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    document = {"sidecar": {"port": 4001, "log_level": "debug"}, "agents": {"default_timeout_seconds": 60}}
    path.write_text(json.dumps(document))
    assert json.loads(in_process("--config", str(path), "config", "show", "--format", "json").stdout) == document


def test_a_mistyped_variable_is_named() -> None:
    done = in_process("config", "check", environment={"CCO_SIDECAR_PROT": "1"})
    fails(done, "unknown variable CCO_SIDECAR_PROT; did you mean 'CCO_SIDECAR_PORT'?")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"sidecar": {"port": 1}, "sidecar": {}}', "has the key 'sidecar' twice"),
        ('{"agents": {"runners": {"default": {"environment": {"K": ["h1dden-password"]}}}}}', "environment.K"),
        ('{"agents": {"runners": {"default": {"environment": "h1dden-password"}}}}', "environment"),
        ('{"agents": {"runners": "{h1dden-password"}}', "agents.runners"),
    ],
)
def test_a_broken_file_is_named_without_its_secrets(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    done = in_process("--config", str(path), "config", "check")
    fails(done, says)
    assert PASSWORD not in done.stderr


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(b"\xef\xbb\xbf{}")
    assert in_process("--config", str(path), "config", "check").returncode == 0


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://cco:h1dden@password@host/db",
        "postgresql://cco:h1dden/password@host/db",
        "postgresql://cco:h1dden?password@host/db",
        "postgresql://cco:h1dden#password@host/db",
        "postgresql://cco:h1dden-password@host:abc/db",
        "postgresql://cco:h1dden-password@one:1,two:2/db",
        "postgresql://cco:h1dden[password@host/db",
    ],
)
def test_a_database_url_that_could_be_misread_is_refused_and_not_shown(tmp_path: Path, url: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"sidecar": {"database_url": url}}))
    done = in_process("--config", str(path), "config", "check")
    fails(done, "sidecar.database_url: invalid value: ")
    assert "h1dden" not in done.stderr


@pytest.mark.parametrize("form", ["text", "json", "yaml"])
def test_secrets_are_hidden(config: Path, form: str) -> None:
    done = in_process("--config", str(config), "config", "show", "--format", form)
    assert done.returncode == 0 and "db.example/records" in done.stdout
    assert "nats://nats-1:4222,tls://nats-2:4222" in done.stdout
    assert PASSWORD not in done.stdout and SECRET not in done.stdout


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"sidecar": {"database_url": f"mysql://user:{PASSWORD}@db/x"}}, "sidecar.database_url: invalid value: "),
        ({"sidecar": {"bus_url": f"nats://a,http://user:{PASSWORD}@b"}}, "sidecar.bus_url: invalid value: "),
        ({"bus": {"prefix": "a.b"}}, "bus.prefix: invalid value 'a.b': expected at most 32 letters"),
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


def test_equal_ports_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"sidecar": {"port": 37501, "grpc_port": 37501}}))
    fails(in_process("--config", str(path), "config", "check"), "grpc_port: 37501 is the REST port")
