"""Finds literal values that are given to names such as ``password`` or ``api_key``, in code and in configuration."""

from __future__ import annotations

import re
from typing import NamedTuple

from cco_sidecar.repository.masking import names
from cco_sidecar.repository.masking.values import entropy, is_key, is_password, is_strong


class Found(NamedTuple):
    """A value to mask: its place in the file's bytes, and the rule."""

    start: int
    end: int
    rule: str


def _quoted(name: str) -> bytes:
    """Returns an expression for a string literal; group ``name`` is its content, ``<name>_quote`` its quote."""
    text = (
        r"(?:(?:[uUbBrR@L]|Rb|rb|br)?(?P<N_quote>\\{0,3}(?:``|\"{3}|'{3}|[\"'`]))"
        r"(?P<N>(?:(?!(?P=N_quote))[^\r\n\\]|\\(?!(?P=N_quote))[^\r\n]|(?<!\\)\\(?P=N_quote)){1,4096}?)(?P=N_quote))"
    )
    return text.replace("N", name).encode()


# The repetitions are bounded: files are untrusted, and an expression that backtracks would block the process.
_ATTRIBUTES = rb"(?:[ \t\r\n]{1,80}[\w:.\-]{1,30}=\"[^\"\n]{0,60}\"){0,3}"
_WRAPPERS = (
    rb"(?:(?:new )?(?:[\w.:]{0,20}(?:[sS]ecret|[sS]ecure|[pP]assword|[kK]ey|[tT]oken)\w{0,12}|b|bytes|\[\]byte"
    rb"|Buffer\.from|[sS]tr(?:ing)?(?:::from)?|Some|Just|text|u|encode|Text)!?\([ \t]{0,2}(?=[\"'@]))?"
)
# What stands between a name and its value, and the value: each alternative has a group of its own.
_LITERAL = re.compile(
    rb"(?P<close>\\{0,3}[\"'`]?[)\]]{0,2}[\"'`]?)(?:"
    # `name = "v"`, `name: str = "v"`, `name := "v"`, `"name" => "v"`, `const name string = "v"`
    rb"[ \t]{0,40}(?::[ \t]{0,3}[\w&<>\[\]|?. ']{1,40}?[ \t]{0,3}"
    rb"|[ \t](?:string|String|&str|str|text|[Aa]s [Ss]tring|AS STRING)[ \t]{0,3}|\[\w{0,4}\][ \t]{0,3})?"
    rb"(?::=|=>|=|->|::|:)(?![=>~])[ \t]{0,40}(?:\([ \t]{0,4}\r?\n[ \t]{1,40}(?=[\"']))?"
    + _WRAPPERS
    + _quoted("given")
    +
    # `#define NAME "v"`, `:name "v"`
    rb"|[ \t]{1,20}(?=[\"'`])"
    + _quoted("spaced")
    +
    # `getenv("NAME", "v")`, `put("password", "v")`, `define('DB_PASSWORD', 'v')`
    rb"|,[ \t]{0,10}(?:default=|fallback=|default:|[\w.]{0,20}\()?"
    + _quoted("argument")
    +
    # `x || "v"`, `x ?? "v"`, `x or "v"`, `x.unwrap_or("v")`, `fetch("x") { "v" }`
    rb"|[ \t)]{0,4}(?P<alternative>\|\||\?\?|\bor\b|\?:|//|\{"
    rb"|\.(?:unwrap_or(?:_else)?|getOrElse|orElse|get_or_insert|getOrDefault)\((?:\|\w{0,4}\|)?)[ \t]{0,4}"
    + _quoted("default")
    +
    # `setPassword("v")`, `.password("v")`, `cookieParser("v")`
    rb"|\([ \t]{0,4}"
    + _quoted("only")
    + rb"[ \t]{0,4}\)"
    # `<password>v</password>`, `<string name="password">v</string>`, `<key>password</key> <string>v</string>`
    rb"|" + _ATTRIBUTES + rb"[ \t]{0,4}>(?:[ \t]{0,4}<!\[CDATA\[|[ \t]{0,4}<[vV]alue>)?"
    rb"(?P<element>[^<>\s][^<>\r\n]{3,4000}?)(?:\]\]>)?[ \t]{0,4}</"
    rb"|</\w{1,20}>\s{0,80}<(?:string|value|data)>(?P<next_element>[^<>\r\n]{4,4000})</"
    # `name="password" value="v"`, `key="password" value="v"`
    rb"|" + _ATTRIBUTES + rb"[ \t\r\n]{1,80}(?:\w{1,20}:)?(?:value|Value|content|default)[ \t]{0,2}=[ \t]{0,2}"
    rb"[\"'](?P<attribute>[^\"'\n]{4,4000})[\"']"
    # `- name: DB_PASSWORD` with `value: v` on the next line
    rb"|[ \t]{0,4},?[ \t]{0,4}\r?\n[ \t]{0,60}[\"']?(?:value|Value|default_?[vV]alue)[\"']?[ \t]{0,3}[:=]"
    rb"[ \t]{0,3}[\"']?(?P<next_line>[^\s\"'#,][^\r\n\"']{3,4000}?)[\"']?,?[ \t]{0,4}(?=\r?\n|$|\})"
    # `variable "db_password" { default = "v" }`
    rb"|[ \t]{0,3}\{\s{0,20}(?:(?:type|description|sensitive)[ \t]{0,10}=[^\n]{0,200}\n\s{0,20}){0,3}"
    rb"default[ \t]{0,10}=[ \t]{0,10}\"(?P<block>[^\"\n]{4,4000})\")"
)
_LITERALS = (
    "given", "spaced", "argument", "default", "only", "element", "next_element", "attribute", "next_line", "block",
)  # fmt: skip
# `password: v`, `requirepass v`, in files whose values are not quoted
_BARE = re.compile(
    rb"[\"'`]?(?P<between>[ \t]{0,40}(?:=|:|\?=|:=|=>)[ \t]{0,40}|[ \t]{1,40})(?P<bare>[^\s\"'`|>]\S{3,400}+)"
    rb"[ \t},;]{0,20}(?=[ \t]#|\r?\n|$)"
)
# YAML: `password: |` or `password: >-` with the value on the next line, `password: !!str v`, `password: &anchor v`
_BLOCK = re.compile(
    rb"[\"'`]?[ \t]{0,4}:[ \t]{1,10}(?:[&!]\S{1,40}[ \t]{1,10})?"
    rb"(?:[|>][-+0-9]{0,2}[ \t]{0,10}\r?\n[ \t]{1,40}|(?<=[ \t])(?<!:[ \t]))"
    rb"(?P<block>[^\s\"'`|>&!$]\S{3,400}+)[ \t]{0,10}(?=[ \t]#|\r?\n|$)"
)
# `;Password=v;`, `?password=v&`, `password=v` among other fields
_FIELD = re.compile(rb"(?P<between>[ \t]{0,2}=[ \t]{0,2})(?P<field>(?:&amp;|[^\s\"'`;&<>,]){4,400})(?=[;&\s\"'`<,]|$)")
# `--password v`, `--password=v`, `"--password", "v"`
_OPTION = re.compile(
    rb"(?:=|[ \t]{1,4}|[\"'],[ \t]{0,3}[\"'])(?P<quote>[\"']?)"
    rb"(?P<option>(?!-)[^\s\"'`]{4,400}|(?<=[\"'])[^\"'\r\n]{4,200})(?P=quote)"
)
# `${NAME:-v}`, `${name:v}`
_FALLBACK = re.compile(rb"(?:\}?:-|:-|:=|-|:)(?P<fallback>[^\s\"'}${][^\s\"'}{]{3,400})\}")
_NEXT_FIELD = re.compile(rb" [\w\-]{2,20}=")
_LOOKUP = re.compile(
    rb"(?i)(?:env|conf|config|secret|option|setting|default|propert|fetch|param|lookup|system)[\w.]{0,20}[\"'\])]{0,3}"
    rb"[ \t]{0,2}[(\[.{][ \t]{0,4}[\"'`]?[\w\-.]{0,64}$"
)
_SETTER = re.compile(
    rb"(?i)(?:^|[^\w])(?:[\w.]{0,40}(?:values[ \t]{0,3}|put|set\w{0,20}|define|add|property|header|append|insert"
    rb"|with\w{0,20}|option|credentials?|signin|login|authenticate|connect|auth)|\w*\.(?:set|put))"
    rb"\(?[ \t]{0,4}[\"'`]?[\w\-.]{0,64}$"
)
_MASK = b"[masked]"
_CODE = re.compile(rb"[\s(){};=]")
_AFTER_NAME = frozenset(bytes([c]) for c in b"\"'`)]\\ \t:=,|?(><\r\n.{-}")
_METHOD = re.compile(rb"\.(?:unwrap_or|getOr|orElse|get_or)")
# Words that stand for a password in settings that are meant to be changed.
_COMMON = frozenset(
    (b"password", b"postgres", b"rootpassword", b"required", b"optional", b"undefined", b"disabled", b"enabled",
     b"administrator", b"default", b"mariadb", b"wordpress", b"rabbitmq")
)  # fmt: skip


class Literals:
    """Finds the literals after names in one file. The words of a name share its end, so the last match is kept."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._last: tuple[int, re.Match[bytes] | None] = (-1, None)

    def after(self, end: int) -> re.Match[bytes] | None:
        """Returns the literal that is given to a name which ends here."""
        if self._last[0] != end:
            self._last = (end, _LITERAL.match(self._data, end))
        return self._last[1]


class _Name(NamedTuple):
    """A name in which a word for a secret stands. ``bare``: values of the file are not quoted."""

    data: bytes
    start: int
    word: int
    word_end: int
    end: int
    password: bool
    bare: bool

    @property
    def text(self) -> bytes:
        return self.data[self.start : self.end]

    @property
    def before(self) -> bytes:
        """The text before the name."""
        return self.data[max(0, self.start - 60) : self.start]

    @property
    def line(self) -> bytes:
        """The text of the same line before the name, at most 500 bytes."""
        near = max(0, self.start - 500)
        return self.data[self.data.rfind(b"\n", near, self.start) + 1 or near : self.start]

    def holds(self, value: bytes, *, literal: bool) -> bool:
        """Whether the value can be what the name promises. ``literal``: it is quoted, so it is no code."""
        if names.repeats(self.text, value):
            return False
        if self.password:
            return is_password(value, literal=literal)
        if self.data[self.word : self.word_end].lower() == b"_key" and self.word_end == self.end:
            # Most such names are those of a record or a cache.
            digits = sum(1 for c in value if 48 <= c <= 57)
            return len(value) >= 20 and digits >= 3 and entropy(value) > 3.3 and is_key(value, literal=literal)
        if is_key(value, literal=literal):
            return True
        return b"secret" in self.text.lower() and is_strong(value) and is_password(value, literal=literal)

    def found(self, match: re.Match[bytes], group: str, length: int | None = None) -> Found:
        start = match.start(group)
        end = match.end(group) if length is None else start + length
        return Found(start, end, "password" if self.password else "key")


def value_at(data: bytes, word: int, word_end: int, literals: Literals, *, password: bool, bare: bool) -> Found | None:
    """Returns the secret that is given to the name in which the word ``data[word:word_end]`` stands.

    ``literals``: those of the file; ``password``: the word is one of ``names.PASSWORDS``; ``bare``: the file's values
    are not quoted.
    """
    tail = names.TAIL.match(data, word_end)
    end = tail.end() if tail else word_end
    after = data[end : end + 1]
    if after == b"\n" and end - word == 4 and not bare and data[word - 1 : word].isspace():
        # The statement of Python.
        return None
    if after not in _AFTER_NAME or (after == b"." and not _METHOD.match(data, end)):
        return None
    literal = literals.after(end)
    others = after in b"=:-} \t\"'" or bare
    if literal is None and not others:
        return None
    head = names.HEAD.match(data[max(0, word - 64) : word][::-1])
    name = _Name(data, word - (head.end() if head else 0), word, word_end, end, password, bare)
    if data[word : word + 4].lower() == b"pass" and not names.is_password_word(data[word:end]):
        return None
    found = _literal(name, literal) if literal is not None else None
    if found is None and others and (literal is None or literal["element"] or literal["next_line"]):
        found = _unquoted(name)
    # Checked last, because few names get this far.
    if found is None or names.is_about(data[name.start : word], data[word_end:end]):
        return None
    # Inside a template, a name is no assignment.
    return None if name.line.rfind(b"{{") > name.line.rfind(b"}}") else found


def _literal(name: _Name, match: re.Match[bytes]) -> Found | None:
    group = next(each for each in _LITERALS if match[each] is not None)
    value = match[group]
    if _MASK in name.data[name.end : match.start(group)]:
        # The value of the name was masked already.
        return None
    if f"{group}_quote" in match.re.groupindex and match[f"{group}_quote"][:1] == b"`" and _CODE.search(value):
        return None
    match group:
        case "argument":
            fits = b" " not in value and bool(_LOOKUP.search(name.before) or _SETTER.search(name.before))
        case "default":
            looked_up = _LOOKUP.search(name.before) is not None or b"env" in name.before.lower()
            fits = looked_up or match["alternative"] in (b"||", b"??", b"?:", b"or", b"//")
        case "only":
            fits = b" " not in value and b"." not in name.data[name.word_end : name.end]
        case "spaced":
            fits = b" " not in value and not match["close"] and _is_spaced_value(name, value, match["spaced_quote"])
        case "next_line":
            fits = b"{{" not in value
        case _:
            fits = True
    return name.found(match, group) if fits and name.holds(value, literal=group != "next_line") else None


def _is_spaced_value(name: _Name, value: bytes, quote: bytes) -> bool:
    """Whether a literal after a name and a space is its value, not the next word of a text."""
    if is_strong(value) and any(65 <= c <= 90 for c in value):
        return True
    directive = name.before.rstrip(b" (\t")
    return quote != b"`" and (not directive or directive.endswith((b"#define", b":", b"\n")))


def _unquoted(name: _Name) -> Found | None:
    if name.data[max(0, name.start - 2) : name.start] == b"${":
        match = _FALLBACK.match(name.data, name.end)
        if match and name.holds(match["fallback"], literal=False):
            return name.found(match, "fallback")
    match = _FIELD.match(name.data, name.end)
    if match and _is_field(name, match) and name.holds(match["field"], literal=False):
        return name.found(match, "field")
    if b"-" in name.data[max(0, name.start - 1) : name.start + 1]:
        match = _OPTION.match(name.data, name.end)
        if match and name.holds(match["option"], literal=True):
            return name.found(match, "option")
    return _bare(name) if name.bare else None


def _is_field(name: _Name, match: re.Match[bytes]) -> bool:
    """Whether ``name=value`` is a field of a string or a query, not an assignment in code."""
    if name.bare:
        return True
    if match["between"] != b"=":
        return False
    before = name.data[name.start - 1 : name.start] if name.start else b" "
    after = name.data[match.end() : match.end() + 24]
    if before in b" \"'" and _NEXT_FIELD.match(after):
        return True
    return after[:1] in (b";", b"&", b'"', b"'", b"`") and before in b";?&\"'` "


def _bare(name: _Name) -> Found | None:
    block = _BLOCK.match(name.data, name.end)
    if block and name.holds(block["block"], literal=False):
        return name.found(block, "block")
    match = _BARE.match(name.data, name.end)
    if match is None:
        return None
    value = match["bare"].rstrip(b" },;")
    separated = not match["between"].strip()
    if b" " in value or value[:1] in b"{[" or (separated and (name.line.strip(b" \t+-") or not is_strong(value))):
        return None
    # Variables of the environment are often given one word.
    word = name.password and name.text.isupper() and value.isalpha() and len(value) >= 7
    holds = name.holds(value, literal=False) or (word and value.lower() not in _COMMON)
    return name.found(match, "bare", len(value)) if holds else None
