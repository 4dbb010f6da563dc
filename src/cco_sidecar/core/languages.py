"""The language of a file by its name, with the names of GitHub Linguist in lower case."""

from __future__ import annotations

_BY_SUFFIX = {
    "py": "python", "pyi": "python", "pyx": "cython", "go": "go", "rs": "rust", "swift": "swift", "dart": "dart",
    "ts": "typescript", "tsx": "typescript", "mts": "typescript", "cts": "typescript", "js": "javascript",
    "jsx": "javascript", "mjs": "javascript", "cjs": "javascript", "java": "java", "kt": "kotlin", "kts": "kotlin",
    "scala": "scala", "c": "c", "h": "c", "cc": "c++", "cpp": "c++", "cxx": "c++", "hpp": "c++", "cs": "c#",
    "fs": "f#", "rb": "ruby", "php": "php", "ex": "elixir", "exs": "elixir", "erl": "erlang", "hs": "haskell",
    "ml": "ocaml", "lua": "lua", "r": "r", "jl": "julia", "sh": "shell", "bash": "shell", "zsh": "shell",
    "sql": "sql", "proto": "protocol-buffer", "graphql": "graphql", "gql": "graphql", "tf": "terraform",
    "hcl": "hcl", "css": "css", "scss": "scss", "less": "less", "html": "html", "htm": "html", "vue": "vue",
    "svelte": "svelte", "md": "markdown", "mdx": "markdown", "rst": "restructuredtext", "adoc": "asciidoc",
    "json": "json", "jsonl": "json", "yaml": "yaml", "yml": "yaml", "toml": "toml", "ini": "ini", "cfg": "ini",
    "conf": "ini", "xml": "xml", "csv": "csv", "tsv": "tsv", "ipynb": "jupyter-notebook", "pl": "perl",
    "ps1": "powershell", "bat": "batchfile", "zig": "zig", "nim": "nim", "clj": "clojure", "txt": "text",
}  # fmt: skip
_BY_NAME = {"Dockerfile": "dockerfile", "Makefile": "makefile", "Jenkinsfile": "groovy", "Gemfile": "ruby"}


def language_of(path: str) -> str:
    """Returns the language of a file, or ``text`` if it is unknown."""
    name = path.rpartition("/")[2]
    if name in _BY_NAME:
        return _BY_NAME[name]
    return _BY_SUFFIX.get(name.rpartition(".")[2].lower(), "text") if "." in name else "text"
