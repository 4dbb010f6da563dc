"""Draws the packages of cco_sidecar and their imports into docs/architecture.md.

The picture is computed from the code: `make picture` writes it, and with ``--check`` this script exits with 1 if the
page differs. An import that also follows from others is left out (transitive reduction), so that the picture is
readable.
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp

_ROOT = Path(__file__).resolve().parent.parent
_PAGE = _ROOT / "docs" / "architecture.md"
_PACKAGE = "cco_sidecar"
_PICTURE = re.compile(r"(?<=<!-- picture:begin -->\n).*?(?=<!-- picture:end -->)", re.DOTALL)

Imports = Mapping[str, set[str]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if the page is not current")
    parser.add_argument("--page", type=Path, default=_PAGE, help="the page that has the picture")
    arguments = parser.parse_args()
    page: Path = arguments.page
    before = page.read_text()
    if not _PICTURE.search(before):
        sys.exit(f"{page.name}: no picture found: expected <!-- picture:begin --> and <!-- picture:end -->")
    after = _PICTURE.sub(lambda _: picture(reduced(imports())), before)
    if not arguments.check:
        page.write_text(after)
    elif before != after:
        lines = difflib.unified_diff(before.splitlines(), after.splitlines(), "the page", "the imports", "", "", 0, "")
        changes = "\n".join(line for line in lines if not line.startswith("@@"))
        sys.exit(f"{page.name}: the picture does not match the imports; fix: make picture\n{changes}")


def imports() -> dict[str, set[str]]:
    """Returns which top-level packages and modules each of them imports."""
    graph = grimp.build_graph(_PACKAGE, cache_dir=None)
    children = graph.find_children(_PACKAGE)
    for child in children:
        graph.squash_module(child)
    found: dict[str, set[str]] = {}
    for child in sorted(children):
        # Imports within a package count as its own.
        others = graph.find_modules_directly_imported_by(child) & children - {child}
        found[_name(child)] = {_name(other) for other in others}
    return found


def reduced(found: Imports) -> dict[str, set[str]]:
    """Returns the imports without those that follow from others."""
    try:
        order = list(TopologicalSorter(found).static_order())
    except CycleError as problem:
        sys.exit(f"the packages import each other in a cycle: {' -> '.join(problem.args[1])}")
    reachable: dict[str, set[str]] = {}
    for name in order:
        reachable[name] = found[name].union(*(reachable[each] for each in found[name]))
    return {
        name: {each for each in targets if not any(each in reachable[other] for other in targets)}
        for name, targets in found.items()
    }


def picture(found: Imports) -> str:
    """Returns a mermaid diagram; an arrow is an import. Packages without any imports to show are left out."""
    arrows = [f"    {name} --> {target}" for name, targets in sorted(found.items()) for target in sorted(targets)]
    return "\n".join(["", "```mermaid", "flowchart TD", *arrows, "```", "", ""])


def _name(module: str) -> str:
    return module.rpartition(".")[2]


if __name__ == "__main__":
    main()
