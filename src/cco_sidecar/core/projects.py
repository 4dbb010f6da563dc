"""The directories of the projects."""

from __future__ import annotations

from pathlib import Path

from cco_sidecar.core.errors import not_found
from cco_sidecar.core.settings import Settings


class Projects:
    """Maps project ids to directories."""

    def __init__(self, settings: Settings) -> None:
        self._roots = settings.projects
        self._root = settings.project_root
        self.default = settings.default_project

    @property
    def directories(self) -> dict[str, str]:
        """The directories by name; that of the default project has an empty one."""
        return {name: str(root) for name, root in self._roots.items()} | {"": str(self.root(self.default))}

    def foreign_to(self, root: Path) -> list[Path]:
        """Returns the directories of other projects, unless one of the two contains the other."""
        others = [Path(each) for each in self.directories.values()]
        related = [root, *root.parents]
        return [each for each in others if each not in related and not each.is_relative_to(root)]

    def root(self, project: str) -> Path:
        """Returns the directory of a project. Raises SidecarError (PRJ_001) if the project is not configured.

        Without configured projects, every id stands for the project root.
        """
        if not self._roots or project == self.default:
            return self._roots.get(project, self._root)
        root = self._roots.get(project)
        if root is None:
            raise not_found(
                "PRJ_001", f"project '{project}' not found; list projects with 'cco config show'", project_id=project
            )
        return root
