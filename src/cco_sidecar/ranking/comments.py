"""Extracts the comments of source files, for agents that read only documentation."""

from __future__ import annotations

import re

_HASH = {"python", "shell", "ruby", "r", "elixir", "terraform", "makefile", "perl", "yaml"}
_SLASH = {
    "go", "rust", "swift", "dart", "typescript", "javascript", "java", "kotlin", "scala", "c", "c++", "c#", "php",
    "protocol-buffer", "groovy",
}  # fmt: skip
_PYTHON = re.compile(
    r"(?P<head>^[ \t]*(?:async[ ]+)?(?:def|class)[ ]+\w+[^\n]*$)|(?P<line>^[ \t]*\#[^\n]*$)"
    r'|(?P<doc>"""[\s\S]*?(?:"""|\Z)|\'\'\'[\s\S]*?(?:\'\'\'|\Z))',
    re.MULTILINE,
)
_HASHES = re.compile(r"^[ \t]*#[^\n]*$", re.MULTILINE)
# An unterminated comment runs to the end, so that no text is scanned twice.
_SLASHES = re.compile(r"/\*[\s\S]*?(?:\*/|\Z)|^[ \t]*//[^\n]*$", re.MULTILINE)
MARK = "[comments only; the code is left out]"


def comments_of(content: str, language: str) -> str | None:
    """Returns the comments and docstrings in order; None if the language is unknown or there are none.

    For Python, ``def`` and ``class`` lines are included.
    """
    if language == "python":
        found = [match.group().strip("\n") for match in _PYTHON.finditer(content)]
        if not any('"""' in part or "'''" in part or part.lstrip().startswith("#") for part in found):
            return None
    elif language in _HASH:
        found = _HASHES.findall(content)
    elif language in _SLASH:
        found = _SLASHES.findall(content)
    else:
        return None
    return "\n".join((MARK, *found, "")) if found else None
