"""Fixed documents next to the routes: the dashboard, the public keys of the tokens, the OpenAPI document, and the REST
console."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import cached_property

import orjson

from cco_sidecar.auth.tokens import Tokens
from cco_sidecar.core import package_data
from cco_sidecar.gateway import replies

_SCRIPT, _STYLE, _PAGE = b"text/javascript; charset=utf-8", b"text/css; charset=utf-8", b"text/html; charset=utf-8"
# Swagger UI sets styles on its elements, and has its images in its style sheet.
_CONSOLE_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src data:; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# The page shows what agents write. No text of theirs can become a script or markup: nothing inline runs, and
# `require-trusted-types-for` makes the browser refuse to parse a string as HTML. Connections go to this server only.
_DASHBOARD_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    b"trusted-types 'none'"
)


@dataclass(frozen=True, eq=False)
class Document:
    """``policy`` is the Content-Security-Policy of a page; None for that of all other responses. ``level``: of gzip."""

    body: bytes
    content_type: bytes = b"application/json"
    policy: bytes | None = None
    level: int = replies.LEVEL

    async def gzipped(self) -> bytes:
        """Returns the body compressed, which is done once."""
        return await asyncio.shield(self._compressing)

    @cached_property
    def _compressing(self) -> asyncio.Future[bytes]:
        return asyncio.ensure_future(replies.gzipped(self.body, level=self.level))


class Documents:
    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    def get(self, path: str) -> Document | None:
        if path == "/.well-known/jwks.json":
            return Document(self._tokens.jwks)
        if path == "/openapi.json":
            return self._openapi
        if path.startswith("/docs"):
            return self._console.get(path)
        return self._dashboard.get(path) if path == "/" or path.startswith("/dashboard/") else None

    @cached_property
    def _openapi(self) -> Document:
        document = orjson.loads(package_data.openapi_file().read_bytes())
        # Relative to where the document was read (OpenAPI 3.1, section 4.8.5): that may be a proxy.
        return Document(orjson.dumps(document | {"servers": [{"url": "/"}]}))

    @cached_property
    def _dashboard(self) -> dict[str, Document]:
        types = {"main.js": _SCRIPT, "main.css": _STYLE, "icon.svg": b"image/svg+xml"}
        files = {
            f"/dashboard/{name}": Document(package_data.dashboard_file(name).read_bytes(), content_type, level=9)
            for name, content_type in types.items()
        }
        return {"/": Document(package_data.dashboard_file("index.html").read_bytes(), _PAGE, _DASHBOARD_POLICY)} | files

    @cached_property
    def _console(self) -> dict[str, Document]:
        page = Document(package_data.console_file("console.html").read_bytes(), _PAGE, _CONSOLE_POLICY)
        types = {"console.js": _SCRIPT, "swagger-ui-bundle.js": _SCRIPT, "swagger-ui.css": _STYLE}
        files = {
            f"/docs/{name}": Document(package_data.console_file(name).read_bytes(), content_type)
            for name, content_type in types.items()
        }
        return {"/docs": page, "/docs/": page} | files
