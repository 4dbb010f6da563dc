"""Copy the prose of files to a shadow tree, and check it for words and phrases of docs/style/phrases.toml.

Prose is Markdown outside code, comments and docstrings of Python, comments of .proto; in src/ also string literals
that read like sentences (help and error texts). The rest is blanked, so that lines and columns stay the same.
"""

from __future__ import annotations

import io
import re
import sys
import token
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path

_FENCE = re.compile(r"^[ \t>]*(`{3,}|~{3,})[^\n]*\n.*?(?:^[ \t>]*\1[ \t]*$|\Z)|<!--.*?-->", re.M | re.S)
_CODE = re.compile(r"(`+)(?!`)[^\n]+?(?<!`)\1(?!`)|(?<=\])\([^)\s]*\)|\bhttps?://[^\s)>]+|\{[^{}\n]*\}")
_PROTO = re.compile(r'"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*.*?\*/', re.S)
_START = {token.NEWLINE, token.INDENT, token.DEDENT, token.ENCODING}
_SENTENCE = re.compile(r"[A-Za-z]{2,}[,;:]? [A-Za-z]{2,}")


def _blank(text: str) -> str:
    return re.sub(r"\S", "|", text)


def markdown(text: str) -> str:
    return _CODE.sub(lambda m: _blank(m[0]), _FENCE.sub(lambda m: _blank(m[0]), text))


def _only(text: str, spans: Iterator[tuple[int, int]]) -> str:
    kept, at = [], 0
    for start, end in spans:
        kept += [_blank(text[at:start]), re.sub(r"^([ \t]*)(#+|//+)", lambda m: " " * len(m[0]), text[start:end])]
        at = end
    return _CODE.sub(lambda m: _blank(m[0]), "".join([*kept, _blank(text[at:])]))


def proto(text: str) -> str:
    return _only(text, (m.span() for m in _PROTO.finditer(text) if m[0][0] == "/"))


def python(text: str, *, literals: bool = False) -> str:
    starts = [0]
    for line in io.StringIO(text):
        starts.append(starts[-1] + len(line))

    def spans() -> Iterator[tuple[int, int]]:
        before = token.ENCODING
        for part in tokenize.generate_tokens(io.StringIO(text).readline):
            if part.type == token.COMMENT and not part.string.startswith(("#!", "# type:", "# noqa")):
                wanted = True
            elif part.type == token.STRING:
                wanted = before in _START or (literals and _SENTENCE.search(part.string) is not None)
            else:
                wanted = token.tok_name[part.type] == "FSTRING_MIDDLE" and literals
            if wanted:
                yield starts[part.start[0] - 1] + part.start[1], starts[part.end[0] - 1] + part.end[1]
            if part.type not in (token.COMMENT, token.NL):
                before = part.type

    return _only(text, spans())


def prose(path: Path) -> str:
    text = path.read_text()
    if path.suffix == ".md":
        return markdown(text)
    if path.suffix == ".proto":
        return proto(text)
    return python(text, literals=path.parts[0] == "src")


def main(target: Path, paths: list[Path]) -> int:
    phrases = tomllib.loads(Path("docs/style/phrases.toml").read_text())["phrase"]
    rules = [(re.compile(r"\b(?:" + p["not"].replace(" ", r"\s+") + r")\b", re.I), p) for p in phrases]
    found = 0
    for path in filter(Path.is_file, paths):
        text = prose(path)
        shadow = target / path
        shadow.parent.mkdir(parents=True, exist_ok=True)
        shadow.write_text(text)
        for pattern, phrase in rules:
            if path.as_posix() in phrase.get("except", []):
                continue
            for match in pattern.finditer(text):
                start = match.start()
                line, column = text.count("\n", 0, start) + 1, start - text.rfind("\n", 0, start)
                print(f"{path}:{line}:{column}: {' '.join(match[0].split())!r}: write {phrase['but']!r}")  # noqa: T201
                found += 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), [Path(line) for line in sys.stdin.read().splitlines()]))
