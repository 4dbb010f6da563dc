"""Reads JSON bodies, and answers errors as the original does: ``{"detail": ...}``."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cco_sidecar.core.bounds import check_json
from cco_sidecar.core.errors import Kind, SidecarError

log = logging.getLogger(__name__)

_TYPES = {str: "string", dict: "dict", list: "list", int: "int"}


class Unprocessable(Exception):
    """A body of the wrong shape (422)."""

    def __init__(self, problems: list[dict[str, Any]]) -> None:
        super().__init__("unprocessable")
        self.problems = problems


def problem(kind: str, where: list[str | int], text: str) -> dict[str, Any]:
    return {"type": kind, "loc": where, "msg": text}


async def json_object(
    request: Request, required: Mapping[str, type], optional: Mapping[str, type] | None = None
) -> dict[str, Any]:
    """Returns the known fields of a JSON body; null is as if not given. Raises Unprocessable."""
    body = await request.body()
    # Before it is parsed, which blocks everybody.
    check_json(body)
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError as wrong:
        raise Unprocessable(
            [problem("json_invalid", ["body", wrong.pos], f"JSON decode error: {wrong.msg}")]
        ) from wrong
    if not isinstance(given, dict):
        raise Unprocessable([problem("model_attributes_type", ["body"], "Input should be a valid dictionary")])
    found: dict[str, Any] = {}
    problems = []
    for name, kind in (*required.items(), *(optional or {}).items()):
        value = given.get(name)
        if value is None:
            if name in required:
                problems.append(problem("missing", ["body", name], "Field required"))
        elif kind is not object and (not isinstance(value, kind) or isinstance(value, bool)):
            text = f"Input should be a valid {_TYPES[kind]}"
            problems.append(problem(f"{_TYPES[kind]}_type", ["body", name], text))
        else:
            found[name] = value
    if problems:
        raise Unprocessable(problems)
    return found


def number(request: Request, name: str, default: int | None, most: int) -> int | None:
    """Returns an integer of the query, from 0. Raises Unprocessable."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > len(str(most)) or int(text) > most:
        said = f"Input should be a valid integer from 0 to {most}"
        raise Unprocessable([problem("int_parsing", ["query", name], said)])
    return int(text)


def answer(value: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(value), status, media_type="application/json")


def detail(status: int, text: Any) -> HTTPException:
    """Returns the exception for an error of the original."""
    return HTTPException(status, text)


async def on_http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"detail": error.detail}, error.status_code, error.headers)


async def on_unprocessable(_: Request, error: Exception) -> Response:
    assert isinstance(error, Unprocessable)
    return JSONResponse({"detail": error.problems}, 422)


async def on_refusal(_: Request, error: Exception) -> Response:
    """What the services refuse, and the original has no answer for."""
    assert isinstance(error, SidecarError)
    headers = {"retry-after": "1"} if error.kind in (Kind.UNAVAILABLE, Kind.RATE_LIMITED) else None
    return JSONResponse({"detail": error.message, "code": error.code}, error.kind.http_status, headers)


async def on_bug(request: Request, error: Exception) -> Response:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return JSONResponse({"detail": "internal error; the log has the cause"}, 500)


ERRORS: dict[Any, Any] = {
    Exception: on_bug,
    HTTPException: on_http_error,
    Unprocessable: on_unprocessable,
    SidecarError: on_refusal,
}
