"""Secrets that stand in a place known for them: URLs, headers, command lines, SQL, arguments of a call."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from cco_sidecar.repository.masking.assignments import Found
from cco_sidecar.repository.masking.values import is_key, is_password, is_placeholder

_STRING = r"(?:[\"'][^\"'\n]{0,300}[\"']|[\w.:$]{1,60})"
_COMMA = r"[ \t]{0,4},\s{0,20}"


class Shape(NamedTuple):
    """``pattern`` is matched at the word, or searched from ``back`` bytes before it, up to ``reach`` bytes after it."""

    rule: str
    pattern: re.Pattern[bytes]
    back: int = 0
    reach: int = 600


def _shape(rule: str, pattern: str, back: int = 0, reach: int = 600) -> Shape:
    return Shape(rule, re.compile(pattern.encode()), back, reach)


# RFC 3986, section 3.2.1
_URL = _shape(
    "url-credentials",
    r"(?<![A-Za-z0-9+.\-])(?:[A-Za-z][A-Za-z0-9+.\-]{1,30})://(?:(?P<user>[^/\s:@'\"<>{}$()]{0,100}):)?"
    # People do not encode an `@` in a password, so the last one counts; nor a `/`, which can only be one without a
    # user.
    r"(?P<secret>(?(user)(?:[^/\s'\"<>]{3,300}|(?<=//:)[^\s@'\"<>]{3,300})|[^/\s@'\"<>]{3,300}))@(?=[\w\[(.\-${])",
    back=32,
)
# RFC 9110, section 11.4
_AUTHORIZATION = _shape(
    "authorization-header",
    r"(?i)authorization[\"']?\]?[ \t]{0,10}(?::|=|,|=>|\()[ \t]{0,10}[\"'`]?(?:[A-Za-z]{0,3}[\"'`])?"
    r"(?:basic|bearer|token|bot|apikey|digest|splunk|key|oauth|hmac)[ \t]{1,4}(?P<secret>[^\s\"'`<>{}$,()]{6,4000})",
    reach=5000,
)
_BEARER = _shape(
    "authorization-header", r"(?i)\b(?:bearer|basic)[ \t]{1,3}(?P<secret>[A-Za-z0-9_\-./+=~]{8,4000})", reach=5000
)
_CURL = _shape(
    "command-line",
    r"(?:(?:curl|http|https|wget|xh)\b[^\n]{0,300}?[ \t\"'](?:-u|--user|--proxy-user|-a|--auth|-U)[ \t=]{0,3}"
    r"|user[ \t]*=[ \t]*)(?P<q>[\"'])?(?P<user>[^\s:\"']{1,100}):(?P<secret>(?(q)[^\"'\n]{3,200}|[^\s\"']{3,200}))",
)
_MYSQL = _shape(
    "command-line",
    r"(?:mysql(?:dump|admin|import)?|mariadb(?:-dump)?)\b[^\n]{0,200}?[ \t]-p[\"']?(?P<secret>(?!roject|ort)"
    r"[^\s\"'\-][^\s\"']{3,100})",
)
_OPTION = _shape(
    "command-line",
    r"(?:sshpass|redis-cli|mongo(?:sh|dump|restore|export)?|docker[ \t]+login|podman[ \t]+login"
    r"|helm[ \t]+registry[ \t]+login|sqlcmd|ldap(?:search|modify|add)|keytool|smbclient|ipmitool)\b[^\n]{0,200}?"
    r"[ \t](?:-p|-a|-P|-w|-password|-storepass|-keypass|-pw|--authenticationPassword)[ \t=]{0,3}"
    r"(?P<q>[\"'])?(?P<secret>(?!-)(?(q)[^\"'\n]{4,100}|[^\s\"']{4,100}))",
)
_OPENSSL = _shape("command-line", r"(?:-pass(?:in|out)?[ \t]+[\"']?pass:|\bpass:)(?P<secret>[^\s\"']{4,100})", back=12)
_SQL = _shape(
    "sql-password",
    r"(?i)\b(?:identified[ \t\n]+(?:with[ \t]+\w+[ \t]+)?(?:by|as)(?:[ \t]+(?:password|values))?"
    r"|password(?:[ \t]*=|[ \t]*\()?|set[ \t]+password[^'\n=]{0,80}=|pass)[ \t]*N?(?P<q>['\"])"
    r"(?P<secret>[^'\"\n;]{4,100})(?P=q)|\bidentified[ \t]+by[ \t]+(?P<other>(?=[^\s]{0,40}\d)[^\s'\";:&${}`()]{4,60})",
    back=5,
)
_NETRC = _shape(
    "netrc",
    r"(?:machine[ \t]+\S{1,200}\s+)?login[ \t]+\S{1,100}\s+password[ \t]+(?P<secret>\S{4,200})",
)
_DSN = _shape(
    "connection-string",
    r"(?<![\w/])(?P<user>[\w.\-]{1,40}):(?P<secret>[^\s:@/'\"]{4,100})@(?:tcp|unix|udp)\("
    r"|\b[\w.\-]{1,40}/(?P<other>[^\s/@'\":]{4,60})@(?://)?[\w.\-]+(?::\d+)?/\w",
    back=160,
)
_DOCKER = _shape(
    "docker-auth", r"\"auth\"[ \t]{0,4}:[ \t]{0,4}\"(?P<secret>[A-Za-z0-9+/]{12,2000}={0,2})\"", reach=2100
)
# The second argument, after a user.
_USER_AND_PASSWORD = _shape(
    "call-argument",
    r"(?:NetworkCredential|[tT]wilio(?:Client|::REST::Client)?|\bClient|\.login|PasswordAuthentication|[bB]asic_?[aA]uth"
    r"|HTTPBasicAuth|SetBasicAuth|setCredentials|UsernamePasswordCredentials|BasicAWSCredentials|\bauthenticate"
    r"|WiFi\.begin|password_auth|\bauth=|Razorpay(?:Client)?|algoliasearch)(?:\.init|\.new)?[ \t]{0,2}\([ \t]{0,4}"
    + _STRING
    + _COMMA
    + r"(?P<q2>[\"'])(?P<secret>[^\"'\n]{5,200})(?P=q2)[ \t]{0,4}(?:\)|,[ \t]{0,4}[^\"'\n])",
    back=8,
)
# The third argument, after an address and a user.
_CONNECT = _shape(
    "call-argument",
    r"(?:getConnection|new PDO|mysqli(?:_connect)?|DBI->connect)[ \t]{0,2}\([ \t]{0,4}"
    + (_STRING + _COMMA) * 2
    + r"(?P<q2>[\"'])(?P<secret>[^\"'\n]{5,200})(?P=q2)",
    back=8,
)
_SECURE_STRING = _shape(
    "call-argument", r"(?i)ConvertTo-SecureString[ \t]+(?:-String[ \t]+)?(?P<q>[\"'])(?P<secret>[^\"'\n]{4,200})(?P=q)"
)

# The words in lower case that a shape is looked for at.
SHAPES: dict[bytes, list[Shape]] = {}


def _at(words: Iterable[str], *shapes: Shape) -> None:
    for word in words:
        SHAPES.setdefault(word.encode(), []).extend(shapes)


_at(["://"], _URL)
_at(["authorization"], _AUTHORIZATION)
_at(["bearer ", "basic "], _BEARER)
_at(["curl", "wget ", "http -a", "user ="], _CURL)
_at(["mysql", "mariadb"], _MYSQL)
_at(
    ["sshpass", "redis-cli", "mongo", "docker login", "podman login", "sqlcmd", "ldap", "keytool", "helm registry",
     "smbclient", "ipmitool"],
    _OPTION,
)  # fmt: skip
_at(["pass:", "-passin", "-passout"], _OPENSSL)
_at(["identified", "password '", "password n'", "password = n'", "with password", "set password"], _SQL)
_at(["login ", "machine "], _NETRC)
_at(["@tcp(", "@unix(", "@//"], _DSN)
_at(['"auth"'], _DOCKER)
_at(
    ["networkcredential", "twilio(", "twilio::", ".login(", "passwordauthentication", "basicauth", "basic_auth",
     "setcredentials", "usernamepasswordcredentials", "basicawscredentials", "authenticate(", "wifi.begin", "auth=(",
     "razorpayclient", "algoliasearch(", "client("],
    _USER_AND_PASSWORD,
)  # fmt: skip
_at(["getconnection", "new pdo", "mysqli", "dbi->connect"], _CONNECT)
_at(["convertto-securestring"], _SECURE_STRING)

_WORDS_FOR_IT = (b"password", b"passwd", b"pass", b"pwd", b"pw", b"secret", b"token", b"port")


def value_at(data: bytes, shape: Shape, start: int, end: int) -> Found | None:
    """Returns the secret of a shape whose word is ``data[start:end]``."""
    limit = min(len(data), start + shape.reach)
    if shape.back:
        near = max(0, start - shape.back)
        first = data.rfind(b"\n", near, start) + 1 or near
        # Not `search`, which would look beyond the word.
        tried = (shape.pattern.match(data, at, limit) for at in range(first, end + 1))
        match = next((found for found in tried if found), None)
    else:
        match = shape.pattern.match(data, start, limit)
    if match is None:
        return None
    groups = match.re.groupindex
    group = "other" if "other" in groups and match["other"] is not None else "secret"
    user = match["user"] if "user" in groups else None
    if not _holds(shape.rule, match[group], user):
        return None
    return Found(match.start(group), match.end(group), shape.rule)


def _holds(rule: str, value: bytes, user: bytes | None) -> bool:
    if user is not None and value.lower() in (user.lower(), *_WORDS_FOR_IT):
        return False
    match rule:
        case "url-credentials":
            return len(value) >= 12 and is_key(value, literal=True) if user is None else _is_url_password(value)
        case "authorization-header":
            return is_key(value.rstrip(b".,;"), literal=True)
        case "docker-auth":
            return not is_placeholder(value)
    return is_password(value, literal=True) and not value.startswith((b"$", b"<", b"{"))


def _is_url_password(value: bytes) -> bool:
    if is_placeholder(value) or value[:1] in b"$<{%[(" or b"{" in value or value.lower() in _WORDS_FOR_IT:
        return False
    return len(value) >= 8 or not value.isalpha() or value.lower() != value
