"""Cross-origin requests (Fetch standard), for configured origins only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

HeaderList = list[tuple[bytes, bytes]]
_EXPOSED = b"x-request-id, x-ratelimit-limit, x-ratelimit-remaining, x-ratelimit-reset, retry-after"


class Cors:
    def __init__(self, origins: Sequence[str]) -> None:
        self._origins = frozenset(origins)

    def allows(self, origin: str) -> bool:
        return origin in self._origins

    def headers(self, request: Mapping[str, str]) -> HeaderList:
        origin = request.get("origin")
        if origin is None or not self.allows(origin):
            return []
        return [
            (b"access-control-allow-origin", origin.encode("latin-1")),
            (b"access-control-expose-headers", _EXPOSED),
        ]

    def preflight(self, request: Mapping[str, str], verbs: Sequence[str]) -> HeaderList:
        allow = ", ".join((*verbs, *(["HEAD"] if "GET" in verbs else []), "OPTIONS")).encode()
        if not self.headers(request):
            return [(b"allow", allow)]
        return [
            (b"allow", allow),
            (b"access-control-allow-methods", allow),
            (b"access-control-allow-headers", b"authorization, content-type, last-event-id, x-request-id"),
            (b"access-control-max-age", b"600"),
        ]
