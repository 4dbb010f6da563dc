"""The workflow and the commit hooks run what .ci/run and `make lint` run."""

from __future__ import annotations

import re
import tomllib

import yaml
from tests.support.repositories import OURS

WORKFLOW = OURS / ".github" / "workflows" / "ci.yml"


def test_the_workflow_runs_the_parts_of_the_script() -> None:
    parts = re.findall(r"^part (\w+) (.+)$", (OURS / ".ci" / "run").read_text(), re.MULTILINE)
    steps = [step for step in yaml.safe_load(WORKFLOW.read_text())["jobs"]["check"]["steps"] if "run" in step]
    assert [step["name"] for step in steps] == [name for name, _ in parts]
    assert [step["run"] for step in steps[1:]] == [command for _, command in parts[1:]]


def test_the_workflow_begins_with_the_oldest_python() -> None:
    project = tomllib.loads((OURS / "pyproject.toml").read_text())["project"]
    oldest = yaml.safe_load(WORKFLOW.read_text())["jobs"]["check"]["strategy"]["matrix"]["python"][0]
    assert project["requires-python"] == f">={oldest}"


def test_the_hooks_run_the_tools_of_make_lint() -> None:
    makefile = (OURS / "Makefile").read_text()
    for short, real in (
        ("$(BIN)", ".venv/bin"),
        ("$(PY)", ".venv/bin/python"),
        ("$(BUF)", ".tools/node_modules/.bin/buf"),
    ):
        makefile = makefile.replace(short, real)
    recipes = [re.search(rf"^{name}:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE) for name in ("lint", "breaking")]
    wanted = {
        line.removesuffix(" .") for recipe in recipes if recipe for line in recipe[1].replace("\t", "").splitlines()
    }
    (repository,) = yaml.safe_load((OURS / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    found = {hook["entry"].removesuffix(" --force-exclude") for hook in repository["hooks"]}
    assert found == {command for command in wanted if not command.startswith("$(MAKE)")}
