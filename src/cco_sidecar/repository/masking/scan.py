"""Finds the places where a rule can match, by one scan for all words, and replaces what the rules find there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import NamedTuple

from ahocorasick_rs import BytesAhoCorasick, Implementation, MatchKind

from cco_sidecar.core.languages import language_of
from cco_sidecar.repository.masking import assignments, documents, names, shapes
from cco_sidecar.repository.masking.assignments import Found
from cco_sidecar.repository.masking.rules import Rule, rules
from cco_sidecar.repository.masking.shapes import SHAPES, Shape
from cco_sidecar.repository.masking.values import entropy, is_placeholder

MASK = "[masked]"
# Longer ones, such as private keys, are also found without their ends.
_LONGEST_SECRET = 2000
_MASK = MASK.encode()
# How far from its keyword a match may start, and end.
_NEAR_BYTES = 200
_FAR_BYTES = 300
# How much further a search near a keyword must reach than the last one.
_STEP_BYTES = 100
_LONGEST_BYTES = 5000
_LONGEST_URL_BYTES = 400
_ALPHANUMERIC = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
_BY_NAME = ("key", "password")
# Files whose values are not quoted. Elsewhere, an unquoted value is code.
_BARE_LANGUAGES = frozenset(
    {"yaml", "ini", "shell", "dockerfile", "toml", "makefile", "csv", "markdown", "restructuredtext", "asciidoc"}
)
_BARE_SUFFIXES = (
    ".properties", ".env", ".service", ".kubeconfig", ".netrc", ".log", ".txt", ".tfvars", ".diff", ".patch",
    ".secrets", ".cnf", ".xcconfig", ".fish",
)  # fmt: skip


class Finding(NamedTuple):
    """A masked secret: its line in the file, from 1, and the rule that found it."""

    line: int
    rule: str


class _Password(NamedTuple):
    """A word for a secret in a name."""

    password: bool


class _PrivateKey(NamedTuple):
    """The words of a PEM header."""


class _Kubernetes(NamedTuple):
    """A word of a document of Kubernetes. ``config``: of a kubeconfig file."""

    config: bool


_Meaning = Rule | Shape | _Password | _PrivateKey | _Kubernetes


class _Scan(NamedTuple):
    """``meanings``: what each word of the automaton stands for."""

    automaton: BytesAhoCorasick
    words: list[bytes]
    meanings: list[list[_Meaning]]


@cache
def _scan() -> _Scan:
    meanings: dict[bytes, list[_Meaning]] = {}
    for rule in rules():
        for word in rule.keywords:
            meanings.setdefault(word, []).append(rule)
    for password, group in ((True, names.PASSWORDS), (False, names.KEYS)):
        for word in group:
            meanings.setdefault(word, []).append(_Password(password))
    for word, found in SHAPES.items():
        meanings.setdefault(word, []).extend(found)
    meanings.setdefault(b"private key", []).append(_PrivateKey())
    for word in (
        b"kind: secret",
        b'kind": "secret',
        b'kind":"secret',
        b'kind: "secret',
        b"kind:  secret",
        b"kind:   secret",
    ):
        meanings.setdefault(word, []).append(_Kubernetes(config=False))
    for word in (b"client-key-data", b"current-context", b"kind: config"):
        meanings.setdefault(word, []).append(_Kubernetes(config=True))
    words = list(meanings)
    # The DFA is 2.5 times as fast as the default.
    automaton = BytesAhoCorasick(words, matchkind=MatchKind.Standard, implementation=Implementation.DFA)
    return _Scan(automaton, words, list(meanings.values()))


def mask_file(data: bytes, path: str) -> tuple[bytes, list[Finding]]:
    """Replaces the secrets in a file, UTF-8 text, with ``[masked]``. Returns the text, and what was found where."""
    # Of two that start together, the longer one; of equals, the one with a documented format.
    found = sorted(
        _found(data, bare=has_bare_values(path)), key=lambda each: (each.start, -each.end, each.rule in _BY_NAME)
    )
    parts: list[bytes] = []
    findings = []
    at, line = 0, 1
    for start, end, rule in found:
        start, end = _whole_letters(data, start, end)
        if start < at or data[start:end] == _MASK:
            continue
        line += data.count(b"\n", at, start)
        findings.append(Finding(line, rule))
        line += data.count(b"\n", start, end)
        parts += (data[at:start], _masked_lines(data[start:end]))
        at = end
    return (b"".join((*parts, data[at:])), findings) if findings else (data, [])


def _masked_lines(secret: bytes) -> bytes:
    """Masks each line, so that the lines after it keep their numbers."""
    if b"\n" not in secret:
        return _MASK
    lines = secret.split(b"\n")
    return b"\n".join(
        line[: len(line) - len(line.lstrip())] + _MASK + line[len(line.rstrip()) :] if line.strip() else line
        for line in lines
    )


def _whole_letters(data: bytes, start: int, end: int) -> tuple[int, int]:
    """Widens a place to whole letters of UTF-8: a limit of an expression may cut one."""
    while start > 0 and data[start] & 0xC0 == 0x80:
        start -= 1
    while end < len(data) and data[end] & 0xC0 == 0x80:
        end += 1
    return start, end


def mask(text: str) -> str:
    """Replaces the secrets in a text, such as a commit message, with ``[masked]``."""
    if not text:
        return text
    data, findings = mask_file(text.encode("utf-8", "surrogatepass"), "message.txt")
    return data.decode("utf-8", "surrogatepass") if findings else text


def mask_beginning(text: str, most: int) -> tuple[str, bool]:
    """Returns at most ``most`` characters of a text, with its secrets masked, and whether that is all of it."""
    window = text[: most + _LONGEST_SECRET]
    masked = mask(window)
    if len(window) == len(text):
        return masked[:most], len(masked) <= most
    # A secret that is cut in two is not found: nothing of the end of the window is shown.
    return masked[: max(0, min(most, len(masked) - _LONGEST_SECRET))], False


def has_bare_values(path: str) -> bool:
    """Whether values are not quoted in files of this kind."""
    name = path.rpartition("/")[2].lower()
    if name.endswith(_BARE_SUFFIXES) or name.startswith(".env"):
        return True
    return ("." not in name and bool(name)) or language_of(path) in _BARE_LANGUAGES


def _found(data: bytes, *, bare: bool) -> Iterator[Found]:
    scan = _scan()
    literals = assignments.Literals(data)
    matcher = _RuleMatcher(data)
    documents_seen: set[_Kubernetes] = set()
    for word, start, end in scan.automaton.find_matches_as_indexes(data.lower(), overlapping=True):
        for meaning in scan.meanings[word]:
            match meaning:
                case _Password():
                    value = assignments.value_at(data, start, end, literals, password=meaning.password, bare=bare)
                    if value is not None:
                        yield value
                case Rule():
                    yield from matcher.find(meaning, start, end)
                case Shape():
                    if scan.words[word] != b"://" or _has_user_information(data, end):
                        value = shapes.value_at(data, meaning, start, end)
                        if value is not None:
                            yield value
                case _PrivateKey():
                    yield from documents.private_key(data, start)
                case _Kubernetes():
                    if meaning not in documents_seen:
                        documents_seen.add(meaning)
                        yield from documents.kubeconfig(data) if meaning.config else documents.kubernetes_secrets(data)


def _has_user_information(data: bytes, start: int) -> bool:
    """Whether a URL whose authority starts here can have credentials: most have none."""
    at = data.find(b"@", start, start + _LONGEST_URL_BYTES)
    if at < 0 or data.find(b"\n", start, at) >= 0:
        return False
    return data[start : start + 1] == b":" or data.find(b"/", start, at) < 0


class _RuleMatcher:
    """Matches rules at their keywords.

    Files are untrusted, so no rule matches the same part of a file more than a few times.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        # Where the part ends that a rule has matched, or searched.
        self._done: dict[str, int] = {}

    def find(self, rule: Rule, start: int, end: int) -> Iterator[Found]:
        """Yields what a rule finds at, or near, its keyword ``data[start:end]``."""
        done = self._done.get(rule.id, 0)
        if rule.search:
            limit = min(len(self._data), end + _FAR_BYTES)
            if limit < done + _STEP_BYTES and done > 0:
                return
            near = max(0, start - _NEAR_BYTES, done - _FAR_BYTES)
            line = self._data.rfind(b"\n", near, start) + 1 or near
            matches: Iterable[re.Match[bytes]] = rule.pattern.finditer(self._data, line, limit)
            self._done[rule.id] = limit
        else:
            if start < done or (rule.closed and start and self._data[start - 1] in _ALPHANUMERIC):
                return
            first = rule.pattern.match(self._data, start, min(len(self._data), end + _LONGEST_BYTES))
            if first:
                self._done[rule.id] = first.end()
            matches = (first,) if first else ()
        for match in matches:
            found = _judged(rule, match)
            if found is not None:
                yield found


def _judged(rule: Rule, match: re.Match[bytes]) -> Found | None:
    group: str | int = "secret" if "secret" in rule.pattern.groupindex and match["secret"] is not None else 0
    value = match[group]
    if is_placeholder(value) or entropy(value) < rule.entropy:
        return None
    if rule.digits and not any(48 <= c <= 57 for c in value):
        return None
    if rule.uppercase and not any(65 <= c <= 90 for c in value):
        return None
    return Found(match.start(group), match.end(group), rule.id)
