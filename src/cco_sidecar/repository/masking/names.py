"""Names of secrets: the words that make a name one, and the names that only speak of a secret."""

from __future__ import annotations

import re

# In lower case. Names with the first are those of passwords, which people choose; names with the others are those of
# keys and tokens, which are generated.
PASSWORDS = tuple(
    word.encode()
    for word in (
        "passw", "passphrase", "passwd", "passcode", "pass", "pwd", "kennwort", "contrase", "mot_de_passe",
        "motdepasse", "senha", "пароль", "密码", "パスワード", "requirepass", "masterauth", "psk",
    )
)  # fmt: skip
KEYS = tuple(
    word.encode()
    for word in (
        "secret", "token", "apikey", "api_key", "api-key", "api.key", "api key", "accesskey", "access_key",
        "access-key", "accountkey", "account_key", "privatekey", "private_key", "private-key", "authkey", "auth_key",
        "auth-key", "masterkey", "master_key", "encryptionkey", "encryption_key", "encryption-key", "signingkey",
        "signing_key", "signing-key", "licensekey", "license_key", "license-key", "app_key", "appkey", "sharedkey",
        "shared_key", "storagekey", "storage_key", "subscriptionkey", "subscription-key", "subscription_key",
        "secure_auth_key", "logged_in_key", "nonce_key", "_salt", "key_base", "keybase", "hmackey", "hmac_key",
        "jwtkey", "jwt_key", "cookiekey", "client-key-data", "crypt_key", "cryptkey", "server_key", "serverkey",
        "validationkey", "decryptionkey", "_key", "adminkey", "adminapikey", "cookieparser", "community", "_auth",
        "passkey",
    )
)  # fmt: skip
# The rest of a name after such a word.
TAIL = re.compile(rb"(?i)(?:or[dt]|hrase|e)?[a-z0-9]{0,24}(?:[_\-.][a-z0-9]{1,24}){0,4}")
# The part before it, matched backwards.
HEAD = re.compile(rb"[\w\-.$\x80-\xff]{0,64}")
# Names that end so hold something about a secret.
_ABOUT_AFTER = re.compile(
    rb"(?i)(?:[_\-.]?(?:ids?|names?|files?|file_?names?|paths?|dirs?|ur[il]s?|endpoints?|fields?|types?|len|length|size|min"
    rb"|max|limit|ttl|expir\w*|policy|policies|refs?|reference|counts?|total|regexp?|patterns?|labels?|hints?|messages?|msg"
    rb"|errors?|err|arn|headers?|prefix|suffix|class|classes|enabled|disabled|required|strategy|provider|algorithm|alg"
    rb"|reset\w*|forgot\w*|change\w*|confirm\w*|validat\w*|rules?|encoder|encoding|hash(?:er|ing)?|allow\w*|question\w*"
    rb"|format|column|attribute|attr|property|param(?:eter)?s?|env(?:_?var)?|variable|var|mode|kind|status|state|scopes?"
    rb"|issuer|audience|source|store|storage|manager|management|service|client|server|handler|factory|generator|parser"
    rb"|filter|view|form|input|page|button|link|title|text|template|help|description|desc|placeholder|prompt|dialog|screen"
    rb"|route|style|css|icon|version|region|location|host|port|lifetime|timeout|interval|rotation|usage|used|budget|cost"
    rb"|price|index|idx|pos|position|offset|start|end|s_per_\w+|s)"
    rb"|izer\w*|ize|ized|izers|ization|ised|less|ary|ion|stream\w*|list|set|map|tree|dict|node|symbol|value_?type)$"
)
_ABOUT_BEFORE = re.compile(
    rb"(?i)(?:^|[_\-.])(?:test|fake|mock|dummy|hashed|encrypted|sealed|public|public_?key|pub|no|not|is|has|needs?|use|with"
    rb"|show|hide|forgot|reset|change|confirm|max|min|num|n|next|prev|previous|current|eos|bos|pad|unk|sep|cls|mask|stop"
    rb"|special|input|output|start|end|page|continuation|sync|csrf|xsrf|cancel\w*|column|partition|cache|sort|foreign"
    rb"|primary|publishable)[_\-.]?$"
    rb"|(?:public|publickey|forgot|reset|next|page|csrf|xsrf|cancellation|cache|max|is|has|publishable|show|hide|eos|bos|pad"
    rb"|unk)$"
)
_PASSWORD_WORD = re.compile(rb"[A-Z]{2,}|[A-Za-z]?[a-z]*")


def is_about(before: bytes, after: bytes) -> bool:
    """Reports whether a name only speaks of a secret. Arguments: its parts before and after the word for a secret."""
    return _ABOUT_AFTER.search(after) is not None or _ABOUT_BEFORE.search(before) is not None


def is_password_word(rest: bytes) -> bool:
    """Reports whether a part of a name that starts with ``pass`` is a word for a password (``passenger`` is none)."""
    match = _PASSWORD_WORD.match(rest)
    word = match[0].lower() if match else b""
    return word == b"pass" or word.startswith((b"passw", b"passphrase", b"passcode"))


def repeats(name: bytes, value: bytes) -> bool:
    """Reports whether a value repeats words of its name, as values that are names of fields do."""
    plain, own = (re.sub(rb"[^a-z]", b"", text.lower()) for text in (value, name))
    letters_and_digits = len(re.sub(rb"[^a-zA-Z0-9]", b"", value))
    return bool(plain) and (plain in own or own in plain) and len(plain) >= letters_and_digits - 1
