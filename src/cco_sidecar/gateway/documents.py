"""Fixed JSON documents served next to the routes: the public keys of the tokens, and the OpenAPI document."""

from __future__ import annotations

from functools import cached_property

import orjson

from cco_sidecar.auth.tokens import Tokens
from cco_sidecar.core import package_data


class Documents:
    """``url`` is the address of this server, for the OpenAPI document."""

    def __init__(self, tokens: Tokens, url: str) -> None:
        self._tokens = tokens
        self._url = url

    def get(self, path: str) -> bytes | None:
        if path == "/.well-known/jwks.json":
            return self._tokens.jwks
        return self._openapi if path == "/openapi.json" else None

    @cached_property
    def _openapi(self) -> bytes:
        document = orjson.loads(package_data.openapi_file().read_bytes())
        return orjson.dumps(document | {"servers": [{"url": self._url}]})
