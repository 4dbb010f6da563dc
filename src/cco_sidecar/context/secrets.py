"""What must never enter a context: secret files, and strings inside files that look like keys."""

from __future__ import annotations

import re

from cco_sidecar.core.patterns import Patterns

_FILES = Patterns(
    [
        ".env", ".env.*", "*.env", ".envrc", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.ppk",
        "*.asc", "*.gpg", "*.kdbx", "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", ".ssh/", ".aws/", ".gnupg/",
        ".kube/config", ".netrc", "_netrc", ".npmrc", ".pypirc", ".htpasswd", ".pgpass", ".git-credentials",
        ".dockercfg", ".docker/config.json", "credentials", "credentials.*", "*credentials.json",
        "*credentials.y*ml", "secrets.*", "secret.*", "*.secret", "*.secrets", "service-account*.json",
        "service_account*.json", "client_secret*.json", "*.tfstate", "*.tfstate.*", "*.tfvars", "*.ovpn",
        "operator.token",
    ]
)  # fmt: skip
# Made to be shown: they name the settings, not the values.
_TEMPLATES = Patterns(["*.example", "*.sample", "*.template", "*.dist", ".env.test.example"])
_SOURCE = Patterns(["*.py", "*.go", "*.rs", "*.ts", "*.js", "*.java", "*.rb", "*.md", "*.proto", "*.swift", "*.dart"])

# Formats that their issuers document; a match is a key, whatever stands around it.
_KNOWN = "|".join(
    (
        r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}",  # AWS access key id
        r"gh[pousr]_[A-Za-z0-9]{36,255}",  # GitHub
        r"github_pat_[A-Za-z0-9_]{22,255}",
        r"glpat-[A-Za-z0-9_\-]{20,}",  # GitLab
        r"xox[abeoprs]-[A-Za-z0-9\-]{10,}",  # Slack
        r"sk-(?:ant-|proj-|svcacct-)?[A-Za-z0-9_\-]{20,}",  # Anthropic, OpenAI
        r"[sr]k_(?:live|test)_[A-Za-z0-9]{16,}",  # Stripe
        r"AIza[A-Za-z0-9_\-]{35}",  # Google
        r"ya29\.[A-Za-z0-9_\-]{20,}",
        r"npm_[A-Za-z0-9]{36}",
        r"pypi-[A-Za-z0-9_\-]{50,}",
        r"SG\.[A-Za-z0-9_\-]{22}\.[A-Za-z0-9_\-]{43}",  # SendGrid
        r"hf_[A-Za-z0-9]{30,}",  # Hugging Face
        r"dop_v1_[a-f0-9]{64}",  # DigitalOcean
        r"eyJ[A-Za-z0-9_\-]{8,}\.eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}",  # JSON Web Token
    )
)
_TOKENS = re.compile(rf"(?<![A-Za-z0-9_])(?:{_KNOWN})")
_PRIVATE_KEY = re.compile(
    r"-----BEGIN (?:[A-Z0-9 ]+ )?PRIVATE KEY(?: BLOCK)?-----.*?"
    r"(?:-----END (?:[A-Z0-9 ]+ )?PRIVATE KEY(?: BLOCK)?-----|\Z)",
    re.DOTALL,
)
# `password = "..."`, `"api_key": "..."`, `SECRET_KEY=...`: a name that promises a secret, and a literal value.
_ASSIGNED = re.compile(
    r"""(?ix)
    (?P<name> \b[\w\-]*(?:passwd|password|secret|api[_\-]?key|access[_\-]?key|auth[_\-]?token|private[_\-]?key
              |client[_\-]?secret)[\w\-]* ["']? \s* (?::|=|:=|=>) \s*)
    (?P<quote> ["'])
    (?P<value> [^"'\s\\]{8,200})
    (?P=quote)
    """
)
# Credentials in a URL (RFC 3986, section 3.2.1).
_URL = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.\-]*://)(?P<user>[^/\s:@'\"]*):(?P<word>[^/\s@'\"]+)@", re.IGNORECASE)
_PLACEHOLDER = re.compile(
    r"(?ix) ^(?: .*(?:example|changeme|change[_\-]me|placeholder|your[_\-]|dummy|redacted|xxxx|\*\*\*).* "
    r"| [<\[{$%].* | (?:test|fake|mock|sample|none|null|true|false|undefined|password|secret|string)\w* ) $"
)
# Cheap words of which every match of the expressions above has one.
_HINTS = re.compile(
    r"(?i)passw|secret|api.?key|access.?key|auth.?token|private.?key|://[^/\s]*:|AKIA|ASIA|ABIA|ACCA|gh[pousr]_"
    r"|github_pat_|glpat-|xox[abeoprs]-|sk-|[sr]k_|AIza|ya29|npm_|pypi-|SG\.|hf_|dop_v1|eyJ"
)
MASK = "[masked]"


def is_secret_file(path: str) -> bool:
    if not _FILES.match(path) or _TEMPLATES.match(path):
        return False
    # `secrets.py` is code about secrets; `secrets.yaml` holds them.
    return not (_SOURCE.match(path) and not path.endswith(".env"))


def mask(text: str) -> tuple[str, int]:
    """The text with what looks like a key replaced by ``[masked]``, and how many were."""
    if _HINTS.search(text) is None:
        return text, 0
    count = 0

    def assigned(match: re.Match[str]) -> str:
        nonlocal count
        if _PLACEHOLDER.match(match["value"]) or MASK in match["value"]:
            return match.group()
        count += 1
        return f"{match['name']}{match['quote']}{MASK}{match['quote']}"

    def in_url(match: re.Match[str]) -> str:
        nonlocal count
        if _PLACEHOLDER.match(match["word"]) or match["word"] == MASK:
            return match.group()
        count += 1
        return f"{match['scheme']}{match['user']}:{MASK}@"

    text, keys = _PRIVATE_KEY.subn(MASK, text)
    text, tokens = _TOKENS.subn(MASK, text)
    count += keys + tokens
    text = _ASSIGNED.sub(assigned, text)
    text = _URL.sub(in_url, text)
    return text, count
