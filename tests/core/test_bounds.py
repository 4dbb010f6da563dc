"""Requests are bounded by their bytes; large ones are converted off the event loop."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import orjson
import pytest
from google.protobuf import struct_pb2
from hypothesis import given
from hypothesis import strategies as st

from cco_sidecar.core import bounds, codec
from cco_sidecar.core.codec import decode, struct_wire
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.core.offload import beside_the_loop
from cco_sidecar.core.validate import validate
from orchestra.v1.event_service_pb2 import PublishEventRequest
from orchestra.v1.result_service_pb2 import CreateResultRequest

JSON = st.recursive(
    st.none() | st.booleans() | st.floats(-1e15, 1e15) | st.text(max_size=20)
    | st.integers(-(2**53), 2**53),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
    max_leaves=30,
)  # fmt: skip


@given(st.dictionaries(st.text(max_size=8), JSON, max_size=6))
def test_a_struct_built_from_bytes_equals_one_built_from_parts(value: dict[str, Any]) -> None:
    made = struct_pb2.Struct.FromString(struct_wire.encoded(value))
    assert made == decode._struct_by_parts(value, "data")
    assert codec.struct_to_dict(made) == value


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"a": {"b": [1, 2**60]}}, r"data.a.b[1]: 1152921504606846976 exceeds 2^53"),
        ({"a": [float("nan")]}, "data"),
        (orjson.loads("[" * 40 + "]" * 40), "expected an object"),
        ({"a": orjson.loads("[" * 40 + "]" * 40)}, "nested deeper than 32 levels"),
    ],
)
def test_an_oversized_value_is_reported_with_its_path(value: Any, says: str) -> None:
    with pytest.raises(SidecarError) as caught:
        message = codec.from_dict(PublishEventRequest, {"event_type": "x", "data": value})
        validate(message)
    assert says in caught.value.message


@pytest.mark.parametrize(
    "body",
    [
        b'{"data":{"x":[' + b"[]," * 60_000 + b"[]]}}",
        b'{"data":{"x":[' + b"1," * 60_000 + b"1]}}",
        b'{"data":{' + b",".join(b'"k%d":1' % n for n in range(60_000)) + b"}}",
        b'{"data":{"x":[' + b"{}," * 60_000 + b"{}]}}",
    ],
)
def test_too_many_elements_are_refused_before_parsing(body: bytes) -> None:
    with pytest.raises(SidecarError) as caught:
        bounds.check_json(body)
    assert (caught.value.code, caught.value.kind.http_status) == ("REQ_004", 413)


@pytest.mark.parametrize(
    "body",
    [
        orjson.dumps({"result": {"artifacts": {"log": 'a, [b] {c}\n\\"' * 60_000}}}),
        orjson.dumps({"x": list(range(bounds.MAX_ELEMENTS - 10))}),
        b'{"unclosed": "' + b"," * 100,
    ],
)
def test_text_with_many_brackets_is_still_text(body: bytes) -> None:
    bounds.check_json(body)


def nested(count: int) -> PublishEventRequest:
    request = PublishEventRequest(event_type="x")
    request.data.fields["x"].list_value.values.extend(struct_pb2.Value(bool_value=True) for _ in range(count))
    return request


def test_a_message_with_too_many_elements_is_refused() -> None:
    validate(nested(bounds.MAX_ELEMENTS - 2))
    with pytest.raises(SidecarError) as caught:
        validate(nested(bounds.MAX_ELEMENTS + 1))
    assert caught.value.code == "REQ_004"
    with pytest.raises(SidecarError):
        bounds.check_message(nested(250_000).SerializeToString(), 2**30)
    with pytest.raises(SidecarError):
        bounds.check_message(b"x" * 11, 10)


def test_a_message_with_many_lines_of_text_is_still_text() -> None:
    request = CreateResultRequest()
    request.result.artifacts["log"] = "a line of it\n" * 90_000
    bounds.check_message(request.SerializeToString(), 2**22)
    validate(request)


async def test_the_loop_keeps_running_while_a_large_message_is_processed() -> None:
    """Half a second of Python work; other tasks run many times meanwhile."""
    turns = 0

    def work() -> int:
        until = time.perf_counter() + 0.5
        while time.perf_counter() < until:
            pass
        return turns

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    await asyncio.sleep(0)
    assert await beside_the_loop(work, size=bounds.OFFLOAD_BYTES) > 10
    task.cancel()
