"""What each agent type gets to read in projects of eight kinds."""

from __future__ import annotations

from pathlib import Path

import pytest

from cco_sidecar.ranking.selection import choose
from cco_sidecar.repository.snapshot import FileStat, Snapshot
from cco_sidecar.storage.trust import load_agent_types
from orchestra.v1.context_service_pb2 import GitContext, Metadata

PROJECTS = {
    "flask": (
        "README.md pyproject.toml app/__init__.py app/views.py app/models.py app/templates/base.html "
        "app/static/style.css app/static/app.js tests/test_views.py Dockerfile .github/workflows/ci.yml "
        "docs/index.md migrations/001.sql requirements.txt "
    ),
    "gin": (
        "README.md go.mod go.sum main.go internal/handler/user.go internal/handler/user_test.go "
        "internal/store/store.go api/openapi.yaml Makefile Dockerfile .github/workflows/ci.yml "
        "configs/app.yaml "
    ),
    "ripgrep": (
        "README.md Cargo.toml Cargo.lock crates/core/main.rs crates/core/search.rs crates/core/Cargo.toml "
        "tests/regression.rs build.rs .github/workflows/ci.yml doc/rg.1.txt "
    ),
    "nextjs": (
        "README.md package.json tsconfig.json next.config.js pages/index.tsx pages/api/hello.ts "
        "components/Button.tsx components/Button.module.css styles/globals.css public/index.html "
        "__tests__/Button.test.tsx .eslintrc.json .github/workflows/ci.yml "
    ),
    "spring": (
        "README.md pom.xml src/main/java/org/x/App.java src/main/java/org/x/owner/OwnerController.java "
        "src/main/resources/application.properties src/main/resources/templates/welcome.html "
        "src/main/resources/db/schema.sql src/test/java/org/x/OwnerControllerTests.java docker-compose.yml "
        "k8s/app.yml "
    ),
    "laravel": (
        "README.md composer.json app/Http/Controllers/UserController.php app/Models/User.php routes/web.php "
        "resources/views/welcome.blade.php resources/css/app.css resources/js/app.js "
        "database/migrations/2024_create_users.php tests/Feature/UserTest.php config/app.php phpunit.xml "
    ),
    "notebooks": (
        "README.md requirements.txt environment.yml notebooks/explore.ipynb notebooks/train.ipynb "
        "src/features.py src/train.py data/sample.csv sql/report.sql dvc.yaml params.yaml "
        "tests/test_features.py "
    ),
    "docs": (
        "README.md mkdocs.yml docs/index.md docs/guide/start.md docs/guide/advanced.md docs/api/reference.rst "
        "docs/css/extra.css overrides/main.html CONTRIBUTING.md CHANGELOG.md .github/workflows/docs.yml "
    ),
}
SOURCE = (".py", ".go", ".rs", ".java", ".php", ".tsx")
TYPES = load_agent_types(Path("/nonexistent"))
FRONT_END = (
    "frontend-developer",
    "nextjs-architecture-expert",
    "web-vitals-optimizer",
    "ui-ux-designer",
    "typescript-pro",
)


def files_of(agent_type: str, project: str) -> set[str]:
    files = {path: FileStat(1000, 0, 0, number, 0) for number, path in enumerate(PROJECTS[project].split())}
    snapshot = Snapshot(Path("/x"), files, [], [], GitContext(), Metadata())
    return {choice.path for choice in choose(snapshot, TYPES[agent_type], TYPES.file_sets, "", ())}


@pytest.mark.parametrize("project", PROJECTS)
def test_every_type_gets_something_useful(project: str) -> None:
    assert len(TYPES) == 119
    poor = {agent_type: found for agent_type in TYPES if len(found := files_of(agent_type, project)) < 2}
    assert not {each for each, found in poor.items() if "README.md" not in found}
    # A type whose files the project has few of gets few, and no type gets the README alone.
    assert not poor, poor


@pytest.mark.parametrize("project", PROJECTS)
def test_testers_and_auditors_get_source_beside_tests(project: str) -> None:
    source = {path for path in PROJECTS[project].split() if path.endswith(SOURCE)}
    for agent_type, entry in TYPES.items():
        if entry.group in ("quality", "security"):
            assert source <= files_of(agent_type, project), agent_type


@pytest.mark.parametrize("project", ["flask", "nextjs", "spring", "laravel"])
def test_front_end_types_get_html_and_css(project: str) -> None:
    pages = {path for path in PROJECTS[project].split() if path.endswith((".html", ".css"))}
    for agent_type in FRONT_END:
        assert pages <= files_of(agent_type, project), agent_type


def test_data_types_get_notebooks() -> None:
    for agent_type, entry in TYPES.items():
        if entry.group in ("data", "ai-ml") or agent_type == "quant-analyst":
            assert {"notebooks/explore.ipynb", "notebooks/train.ipynb"} <= files_of(agent_type, "notebooks"), agent_type


def test_a_specialist_without_files_of_its_language_gets_those_of_all_types() -> None:
    found = files_of("go-specialist", "flask")
    assert {"app/views.py", "tests/test_views.py", "docs/index.md"} <= found
    assert files_of("go-specialist", "gin") == {
        path for path in PROJECTS["gin"].split() if path.endswith(".go") or path in ("go.mod", "README.md")
    }


@pytest.mark.parametrize(("files", "everything"), [(4, False), (40, True)])
def test_a_type_that_finds_next_to_nothing_gets_the_files_of_all_types(files: int, everything: bool) -> None:
    paths = ["README.md", "run.sh", *(f"src/module{number}.py" for number in range(files))]
    found = {path: FileStat(1000, 0, 0, number, 0) for number, path in enumerate(paths)}
    snapshot = Snapshot(Path("/x"), found, [], [], GitContext(), Metadata())
    chosen = {choice.path for choice in choose(snapshot, TYPES["shell-scripting-pro"], TYPES.file_sets, "", ())}
    assert chosen == (set(paths) if everything else {"README.md", "run.sh"})
