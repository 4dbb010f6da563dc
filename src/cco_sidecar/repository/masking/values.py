"""Judges whether a literal value is a secret, or a name, a reference, a placeholder or ordinary text."""

from __future__ import annotations

import math
import re
from collections import Counter
from functools import lru_cache

_MAX_PASSWORD_BYTES = 200
_MAX_KEY_BYTES = 5000
_LEAST_DISTINCT = 4
# Documented sample values, and texts that stand for a value.
_PLACEHOLDER = re.compile(
    rb"(?i)example|change[ _\-]?(?:me|this|it)|placeholder|your[_\- ]|(?<![a-z])your(?![a-z])|dummy|redacted|\*\*\*"
    rb"|xxxx|\[masked\]|replace[_\-]?(?:me|this|with)|insert[_\-]|to-?be-?(?:set|defined)|<[a-z]|\.\.\.|fixme|todo|foo-?bar"
    rb"|lorem|my[_\-]?(?:super[_\-]?)?(?:secret|password|token|api|key)"
    rb"|(?<![a-z0-9])(?:test|fake|mock|sample|demo|invalid|wrong|bogus|not[_\-]a)(?:ing)?(?![a-z0-9])"
    rb"|(?:test|fake|mock|wrong|invalid|bogus|sample|demo)[_\-]?(?:password|passwd|pass|pwd|secret|token|key|api|user)"
    rb"|(?:12345678(?:90)?|abcdefgh|qwerty(?:uiop)?|deadbeef)$|super[_\-]?secret|s3cr3t$|^p[a@]ssw[o0]rd\d{0,4}!?$"
)
# A value that names where the secret is: a variable, a template, an interpolation, an entry of a secret store.
_REFERENCE = re.compile(
    rb"(?:\$\{|\$\(|\$\[|\$[A-Za-z_]\w*[\]})]*$|\$\$|#\{|\{\{|\{%|\{[\w.:\[\]\-]*\}|%\{|%[A-Za-z_]\w*%|%\(|<%|<[A-Za-z|]"
    rb"|\[\[|@@|@\w*\(|&[a-z]+;|&\w+$|\{AQAA|!(?:vault|secret|Ref|Sub|GetAtt|include|env)"
    rb"|(?:env|vault|secret|secrets|ssm|op|sops|file|aws-ssm|gcp-?sm|keyvault|ref)(?:\+\w+)?:|arn:|ENC\[|AQICA"
    rb"|vault\.|secrets?\.|env\.|var\.|local\.|module\.|data\.|process\.env|os\.environ|self\.|this\.|cfg\.|config\."
    rb"|settings\.)"
)
_TEMPLATES = (b"${", b"{{", b"$(", b"%s", b"{}", b"<%=")
_INTERPOLATED = re.compile(rb"\{[\w.]+(?:\(|\[|\.|:)|\{[a-z_]+\}.*\{")
_URL_OR_PATH = re.compile(rb"(?i)(?:https?|ftp|file|git|ssh|urn|mailto|data):|\.{0,2}/[\w.\-]+/|~/|[a-z]:\\|/[\w.\-]+$")
_FILE = re.compile(
    rb"(?i)[\w./\-]+\.(?:pem|key|crt|cer|p12|pfx|jks|json|ya?ml|txt|py|js|ts|go|rb|java|html?|xml|env|conf|cfg|ini|toml"
    rb"|php|md|sh|sql|csv|com|org|net|io|dev|local)$"
)
# A place that a name stands for, as in `db_password:/etc/db_password`; an address of an account or of mail.
_PLACE = re.compile(rb"[\w.\-]{1,60}:/|0x[0-9a-fA-F]{40}$|[\w.+\-]{1,64}@[\w\-]+\.[\w.\-]+$")
# Validation rules, alternatives, regular expressions.
_PATTERN = re.compile(
    rb"[\w:,.\-]+(?:\|[\w:,.\-]+)+$"
    rb"|.*(?:\[[^\]]{0,60}[a-zA-Z0-9]-[a-zA-Z0-9]|\\[wdsWDSbv]|\.\*|\(\?|\[\^|\{\d+,?\d*\})"
)
_IDENTIFIER = re.compile(rb"[A-Za-z_$]+(?:[.\-/:+,=@][A-Za-z_$]+)+$")
_CODE = re.compile(rb"[\w.]+\(|[)(\[]$|\[[\"']?\w*[\"']?\]$|=>|::|->|\bnew \w|^\w+\.\w+\.\w+$|==|\|\w+:")
# Algorithms, versions and the like: words with a number that are no values.
_TECHNICAL = re.compile(
    rb"(?i)(?:sha|md|hs|rs|es|ps|aes|rsa|ed|ecdsa|utf|base|oauth|pbkdf|argon|scrypt|bcrypt|x|v|s|ec|http|tls|ssl|p|win"
    rb"|node|python|py|u|i|f|int|uint|str|c|k8s|ipv|pkcs|hmac|crc|iso|latin|cp|gpt|step|level|h|col|row|page|item|test"
    rb"|user|app|svc|db|key|token|secret|id|pos|prev|next|sep|bos|eos)[_\-]?\d{1,4}(?:[_\-/.][a-z0-9]{1,8}){0,2}$"
)
_MAX_TECHNICAL_BYTES = 14
_VERSION = re.compile(rb"[\^~=<>v ]{0,3}\d{1,4}(?:\.\d{1,6}){1,3}(?:[\-+.][\w.]{1,20})?$")
_NUMBER = re.compile(rb"[\d.,:\-_ ]+$")
# Bytes from 0x80 belong to letters of other alphabets.
_SIGN = re.compile(rb"[^A-Za-z0-9_.\-/\x80-\xff]")
_STRONG_SIGN = re.compile(rb"[^\w\-./: ]")
_WORD = re.compile(rb"[a-z]+|[A-Z][a-z]+|[A-Z]+(?![a-z])")
_NAME_PART = re.compile(rb"[a-z]{1,14}\d{0,2}|[A-Z][a-z]{1,14}|[A-Z]{1,8}\d{0,2}|\d{1,4}")
# Hashes of passwords (crypt(5), LDAP, Django).
_HASHED = re.compile(
    rb"\$(?:2[aby]|argon2|5|6|1|apr1|y|pbkdf2)[a-z\d\-]*\$|pbkdf2_sha|\{(?:SSHA|SHA|MD5|bcrypt|noop)\}|sha\d{3}[:$\-]"
    rb"|scrypt:"
)
# Google's app passwords.
_FOUR_GROUPS = re.compile(rb"[a-z]{4}(?: [a-z]{4}){3}$")


def entropy(value: bytes) -> float:
    """Returns the Shannon entropy in bits per character."""
    size = len(value)
    return -sum(n / size * math.log2(n / size) for n in Counter(value).values()) if size else 0.0


def is_placeholder(value: bytes) -> bool:
    """Reports whether a value only stands for one."""
    return _PLACEHOLDER.search(value) is not None


def is_strong(value: bytes) -> bool:
    """Reports whether a value has a digit or a sign, so that it is more than words and separators."""
    return _digits(value) > 0 or _STRONG_SIGN.search(value) is not None


@lru_cache(maxsize=256)
def is_password(value: bytes, *, literal: bool) -> bool:
    """Reports whether a value can be a password that a person chose. ``literal``: it is quoted, so it is no code."""
    if not 5 <= len(value) <= _MAX_PASSWORD_BYTES or _is_ordinary(value, literal=literal):
        return False
    digits = _digits(value)
    if not value.isascii() and not digits:
        return False
    letters = sum(1 for c in value if chr(c).isalpha())
    if letters == 0:
        return digits >= 6 and b"." not in value
    if b" " in value:
        return _is_passphrase_of_words(value, letters)
    if digits or _SIGN.search(value):
        return not (_is_technical(value) or _VERSION.match(value))
    return _is_random_word(value) or _is_hyphenated_passphrase(value)


@lru_cache(maxsize=256)
def is_key(value: bytes, *, literal: bool) -> bool:
    """Reports whether a value can be a generated key or token. ``literal``: it is quoted, so it is no code."""
    if not 8 <= len(value) <= _MAX_KEY_BYTES or b" " in value or not value.isascii():
        return False
    if _is_ordinary(value, literal=literal) or _is_technical(value) or _VERSION.match(value) or _NUMBER.match(value):
        return False
    digits = _digits(value)
    if len(value) < 12:
        return digits > 1 and _mixes_cases(value) and entropy(value) > 2.5
    if digits == 0:
        return _is_random_word(value) or (_SIGN.search(value) is not None and entropy(value) > 3.5)
    return not _is_name(value) and entropy(value) >= 2.8


def _digits(value: bytes) -> int:
    return sum(1 for c in value if 48 <= c <= 57)


def _is_ordinary(value: bytes, *, literal: bool) -> bool:
    if (
        len(set(value)) < _LEAST_DISTINCT
        or is_placeholder(value)
        or _REFERENCE.match(value)
        or _URL_OR_PATH.match(value)
        or _FILE.match(value)
    ):
        return True
    if _IDENTIFIER.match(value) and not value.replace(b"-", b"").isalpha():
        return True
    if _PATTERN.match(value) or _PLACE.match(value) or _INTERPOLATED.search(value):
        return True
    if _HASHED.match(value):
        return False
    if any(mark in value for mark in _TEMPLATES):
        return True
    return not literal and _CODE.search(value) is not None


def _is_technical(value: bytes) -> bool:
    return len(value) <= _MAX_TECHNICAL_BYTES and _TECHNICAL.match(value) is not None


def _mixes_cases(value: bytes) -> bool:
    text = value.decode("latin-1")
    kinds = (any(map(str.islower, text)), any(map(str.isupper, text)), any(map(str.isdigit, text)))
    return sum(kinds) >= 2


def _is_passphrase_of_words(value: bytes, letters: int) -> bool:
    """Whether words with spaces between them are a passphrase: it has a digit, and is no sentence."""
    if _FOUR_GROUPS.match(value):
        return True
    words = value.split()
    if any(_is_technical(word) for word in words) or value.rstrip().endswith((b".", b":", b"?")):
        return False
    return _digits(value) > 0 and len(words) <= 6 and letters > 3


def _is_hyphenated_passphrase(value: bytes) -> bool:
    parts = re.split(rb"[\-_.]", value)
    return len(parts) >= 3 and all(1 <= len(part) <= 12 and part.isalpha() for part in parts)


def _is_random_word(value: bytes) -> bool:
    """Whether letters without separators change case as words do not."""
    if not value.isalpha() or len(value) < 14:
        return False
    return len(value) / max(1, len(_WORD.findall(value))) < 2.6 and entropy(value) > 3.3


def _is_name(value: bytes) -> bool:
    """Whether it is words and short numbers joined by separators, as names of resources are."""
    parts = re.split(rb"[._\-/:]", value)
    if len(parts) < 2 or sum(map(len, parts)) / len(parts) >= 9:
        return False
    return all(not part or _NAME_PART.fullmatch(part) for part in parts)
