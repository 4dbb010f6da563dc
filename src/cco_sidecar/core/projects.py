"""The directories of the projects."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cco_sidecar.core.errors import not_found, unavailable
from cco_sidecar.core.git_projects import GitProject
from cco_sidecar.core.settings import Settings


def foreign_to(root: Path, directories: Iterable[Path]) -> list[Path]:
    """Returns the directories of other projects than the one at ``root``, unless one of the two contains the other."""
    related = [root, *root.parents]
    return [each for each in directories if each not in related and not each.is_relative_to(root)]


class Projects:
    """Maps project ids to directories."""

    def __init__(self, settings: Settings) -> None:
        self._roots = settings.project_directories
        self.remotes = {name: place for name, place in settings.projects.items() if isinstance(place, GitProject)}
        # Why those of the remotes that have not been cloned are not here.
        self.problems: dict[str, str] = {}
        self._root = settings.project_root
        self.default = settings.default_project

    @property
    def directories(self) -> dict[str, str]:
        """The directories by name; that of the default project has an empty one."""
        default = self._roots.get(self.default, self._root)
        return {name: str(root) for name, root in self._roots.items()} | {"": str(default)}

    def knows(self, project: str) -> bool:
        """Whether a project has a directory, or stands for the project root."""
        return not self._roots or project == self.default or project in self._roots

    def foreign_to(self, root: Path) -> list[Path]:
        return foreign_to(root, map(Path, self.directories.values()))

    def root(self, project: str) -> Path:
        """Returns the directory of a project. Raises SidecarError: PRJ_001 if the project is not configured, PRJ_002 if
        it has not been cloned yet.

        Without configured projects, every id stands for the project root.
        """
        remote = self.remotes.get(project)
        if remote is not None and not (self._roots[project] / ".git").exists():
            why = self.problems.get(project, "it is being cloned; retry")
            raise unavailable("PRJ_002", f"project '{project}' is not here yet: {why}")
        if not self._roots or project == self.default:
            return self._roots.get(project, self._root)
        root = self._roots.get(project)
        if root is None:
            raise not_found(
                "PRJ_001", f"project '{project}' not found; list projects with 'cco config show'", project_id=project
            )
        return root
