"""Secrets that a document's structure marks: PEM private keys, Kubernetes Secrets, kubeconfig files."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cco_sidecar.repository.masking.assignments import Found
from cco_sidecar.repository.masking.values import is_placeholder

_MAX_KEY_BYTES = 20_000
# RFC 7468; also as a string literal of one or several lines. The body must follow, or it is code about keys.
_PRIVATE_KEY = re.compile(
    rb"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----(?P<body>(?:(?:\\[rnt]|[\s\"'+,.|#*>\\]){0,60}"
    rb"(?:(?:Proc-Type|DEK-Info|Version|Comment|Hash):[^\n\\]{0,200}|[A-Za-z0-9+/=]{4,5000}))+)"
)
# Not the letter of an escape such as `\n` in a string.
_BASE64 = re.compile(rb"(?:(?<=\\[rnt])|(?<![\\A-Za-z0-9+/=]))[A-Za-z0-9+/=]{4,5000}")
_HEADER_BYTES = 75
_LEAST_LINE_BYTES = 16

_DOCUMENT = re.compile(rb"(?ms)(?:\A|^---[^\n]*\n)(?P<text>.*?)(?=^---|\Z)")
_SECRET = re.compile(rb"(?m)[\"']?\bkind[\"']?[ \t]*:[ \t]*[\"']?Secret\b(?!\w)")
_DATA = re.compile(
    rb"(?m)^(?P<indent>[ \t]{0,20})(?:data|stringData):[ \t]*\r?\n"
    rb"(?P<body>(?:(?P=indent)[ \t]+\S[^\n]*\n?|[ \t]*\r?\n)+)"
)
_ENTRY = re.compile(
    rb"(?m)^[ \t]+[\w.\-]+:[ \t]+(?:[|>][-+]?[ \t]*\r?\n(?P<block>(?:[ \t]+\S[^\n]*\n?)+)"
    rb"|[\"']?(?P<value>[^\s\"'#|>][^\s\"']{3,20000})[\"']?[ \t]*(?:#.*)?$)"
)
_JSON_DATA = re.compile(rb"\"(?:data|stringData)\"[ \t]*:[ \t]*\{(?P<body>[^{}]{1,20000})\}")
_JSON_ENTRY = re.compile(rb"\"[\w.\-]+\"[ \t]*:[ \t]*\"(?P<value>[^\"\n]{4,20000})\"")
_KUBECONFIG = re.compile(rb"(?m)^(?:kind:[ \t]*Config\b|current-context:|users:)")
_CREDENTIAL = re.compile(
    rb"(?m)\b(?:client-key-data|token|password|id-token|refresh-token):[ \t]*[\"']?(?P<value>[^\s\"'#${<]{6,20000})"
)


def private_key(data: bytes, start: int) -> Iterator[Found]:
    """Yields the lines of the private key in whose first line ``start`` is."""
    header = data.rfind(b"-----BEGIN ", max(0, start - _HEADER_BYTES), start)
    match = _PRIVATE_KEY.match(data, header, min(len(data), start + _MAX_KEY_BYTES)) if header >= 0 else None
    if match is None:
        return
    runs = [run.span() for run in _BASE64.finditer(data, *match.span("body"))]
    long = [run for run in runs if run[1] - run[0] >= _LEAST_LINE_BYTES]
    for run in long:
        yield Found(*run, "private-key")
    # The last line of a key may be short.
    if long and runs[-1] not in long:
        yield Found(*runs[-1], "private-key")


def kubernetes_secrets(data: bytes) -> Iterator[Found]:
    """Yields the values of all Kubernetes Secrets, in YAML and JSON."""
    for document in _DOCUMENT.finditer(data):
        if not _SECRET.search(document["text"]):
            continue
        for section, entry in ((_DATA, _ENTRY), (_JSON_DATA, _JSON_ENTRY)):
            for body in section.finditer(data, *document.span("text")):
                for match in entry.finditer(data, *body.span("body")):
                    group = "block" if "block" in entry.groupindex and match["block"] is not None else "value"
                    if not is_placeholder(match[group]) and not match[group].startswith((b"{{", b"$", b"<")):
                        yield Found(*match.span(group), "kubernetes-secret")


def kubeconfig(data: bytes) -> Iterator[Found]:
    """Yields the credentials of a kubeconfig file."""
    if _KUBECONFIG.search(data):
        for match in _CREDENTIAL.finditer(data):
            if not is_placeholder(match["value"]):
                yield Found(*match.span("value"), "kubeconfig")
