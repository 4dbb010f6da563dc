"""What only an agent that may spawn others can try."""

from __future__ import annotations

from typing import Any

from attempts.api import _SUCCESS, OTHER, Said, call, unless_refused
from attempts.core import ISSUE, TARGETS, Attempt, Refused, attempt


def spawned(issue: str = ISSUE, **more: Any) -> Said:
    body = {"agent_type": "python-specialist", "issue_id": issue, "task": "nothing", **more}
    return call("POST", "/api/agents/spawn", body)


def ended(said: Said) -> None:
    if said.status == 201:
        call("DELETE", f"/api/agents/{said.json['agent_id']}?force=true")


def spawn_with(**more: Any) -> Attempt:
    def act() -> str:
        said = spawned(**more)
        try:
            return unless_refused(said, "started")
        finally:
            ended(said)

    return act


# Each of these decides what a program runs, whom it trusts, or where its settings and secrets are.
STEERING = {
    "BASH_FUNC_x%%": "() { true; }",
    "HOME": "/nowhere",
    "GCONV_PATH": ".",
    "OPENSSL_CONF": "openssl.cnf",
    "CLAUDE_CONFIG_DIR": ".",
    "ANTHROPIC_BASE_URL": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "LD_PRELOAD": "./x.so",
    "PATH": ".",
    "https_proxy": "http://127.0.0.1:9",
    "ALL_PROXY": "http://127.0.0.1:9",
    "LD_LIBRARY_PATH": ".",
    "LOCPATH": ".",
    "XDG_CONFIG_HOME": ".",
    "NODE_OPTIONS": "--require ./x.js",
    "NODE_EXTRA_CA_CERTS": "x.pem",
    "SSL_CERT_FILE": "x.pem",
    "CURL_HOME": ".",
    "OPENAI_BASE_URL": "http://127.0.0.1:9",
    "CODEX_HOME": ".",
    "GEMINI_CLI_SYSTEM_SETTINGS_PATH": "x.json",
    "AWS_CONFIG_FILE": "x",
    "npm_config_script_shell": "./x",
    "_JAVA_OPTIONS": "-javaagent:x.jar",
    "JDK_JAVA_OPTIONS": "-javaagent:x.jar",
    "DOTNET_STARTUP_HOOKS": "x.dll",
    "GIT_SSH_COMMAND": "./x",
    "EDITOR": "./x",
    "LESSOPEN": "|./x %s",
    "ZDOTDIR": ".",
    "PROMPT_COMMAND": "./x",
    "GLIBC_TUNABLES": "x",
    "TMPDIR": ".",
    "AGENT_RUN_DIR": ".",
    "CCO_SIDECAR_STORAGE": ".",
}


@attempt("spawning", "act as its own child", only="architect")
def as_child() -> str:
    said = spawned()
    if said.status != 201:
        raise Refused(f"{said.status} {said.code}")
    token, child = said.json.get("jwt_token"), said.json["agent_id"]
    try:
        if not token:
            raise Refused("it is told no token")
        body = {"agent_type": "python-specialist", "issue_id": ISSUE, "result": _SUCCESS}
        return unless_refused(call("POST", "/api/results", body, token=token), f"a result of {child}")
    finally:
        ended(said)


for _name, _value in STEERING.items():
    attempt("spawning", f"start an agent with {_name}", only="architect")(spawn_with(environment={_name: _value}))

_OPERATORS: dict[str, dict[str, Any]] = {
    "a command": {"command": ["true"]},
    "a directory": {"directory": "/"},
    "a credential": {"credentials": ["HOSTILE_KEY"]},
    "another project": {"project_id": OTHER},
}
for _name, _more in _OPERATORS.items():
    attempt("spawning", f"start an agent with {_name}", only="architect")(spawn_with(**_more))


@attempt("spawning", "go on with an agent that the operator started", only="architect")
def resumed() -> str:
    """An agent that has ended, with a command."""
    path = f"/api/agents/{TARGETS['ended_agent']}/resume"
    return unless_refused(call("POST", path, {"message": "again"}), "started")


@attempt("spawning", "start 30 agents, each for an issue of its own", only="architect")
def many_children() -> str:
    """An issue has its own limits; a fresh issue has used none of them."""
    made = [spawned(f"hostile-fresh-{number}") for number in range(30)]
    accepted = [said for said in made if said.status == 201]
    for said in accepted:
        ended(said)
    if len(accepted) > 20:
        return f"{len(accepted)} were started"
    refusals = sorted({f"{said.status} {said.code}" for said in made if said.status != 201})
    raise Refused(f"{len(accepted)} were started, then {', '.join(refusals)}")
