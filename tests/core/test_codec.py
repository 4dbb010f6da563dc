"""JSON -> message -> JSON: nothing is lost, numbers stay numbers, and errors name their path."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import orjson
import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from cco_sidecar.core import codec
from cco_sidecar.core.errors import Kind, SidecarError
from orchestra.v1.document_service_pb2 import CreateDocumentRequest, ReadDocumentResponse
from orchestra.v1.event_service_pb2 import PublishEventRequest
from orchestra.v1.result_service_pb2 import AgentResult, CreateResultRequest, FileDetails

TEXT = st.text(max_size=20)
INTEGERS = st.integers(-codec.MAX_EXACT, codec.MAX_EXACT)
NUMBERS = INTEGERS | st.floats(-(2.0**53), 2.0**53)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
TIMES = st.datetimes(timezones=st.just(UTC)).map(
    lambda moment: (
        moment.replace(tzinfo=None).isoformat(timespec="microseconds" if moment.microsecond else "seconds") + "Z"
    )
)


def extras(message_type: type[Message]) -> st.SearchStrategy[dict[str, Any]]:
    """Keys that the proto does not name, including the name of the field that stores them."""
    known = set(message_type.DESCRIPTOR.fields_by_name) - {"extra"}
    return st.dictionaries((TEXT | st.just("extra")).filter(lambda key: key not in known), JSON, max_size=3)


def merged(parts: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    return {key: value for part in parts for key, value in part.items()}


FILES = st.lists(
    TEXT
    | st.tuples(
        st.fixed_dictionaries(
            {"path": TEXT},
            optional={
                "size": NUMBERS,
                "language": TEXT,
                "checksum": TEXT,
                "diff": TEXT,
                "changes": st.lists(TEXT, max_size=3),
            },
        ),
        extras(FileDetails),
    ).map(merged),
    max_size=4,
)
TEXTS = st.lists(TEXT, max_size=3)
RESULTS = st.tuples(
    st.fixed_dictionaries(
        {
            "status": st.sampled_from(["success", "partial", "failed"]),
            "files_created": FILES,
            "files_modified": FILES,
            "files_deleted": TEXTS,
            "decisions": TEXTS,
            "metrics": st.dictionaries(TEXT, NUMBERS, max_size=4),
            "artifacts": st.dictionaries(TEXT, TEXT, max_size=3),
            "errors": TEXTS,
            "warnings": TEXTS,
            "next_steps": TEXTS,
        }
    ),
    extras(AgentResult),
).map(merged)
CREATE_BODIES = st.fixed_dictionaries(
    {
        "agent_id": TEXT,
        "agent_type": TEXT,
        "issue_id": TEXT,
        "project_id": TEXT,
        "result": RESULTS,
        "idempotency_key": TEXT,
    },
    optional={"timestamp": TIMES},
)
PUBLISH_BODIES = st.fixed_dictionaries(
    {
        "event_type": TEXT,
        "publisher": TEXT,
        "topic": TEXT,
        "data": st.dictionaries(TEXT, JSON, max_size=4),
        "correlation_id": TEXT,
        "priority": st.sampled_from(["low", "normal", "high"]),
        "project_id": TEXT,
        "idempotency_key": TEXT,
        "expected_last_event_id": TEXT,
        "causation_id": TEXT,
        "state_key": TEXT,
        "traceparent": TEXT,
        "tracestate": TEXT,
    },
    optional={
        "ttl_seconds": st.integers(-(2**31), 2**31 - 1),
        "cloud_event": st.fixed_dictionaries(
            {"id": TEXT, "source": TEXT, "extensions": st.dictionaries(TEXT, TEXT, max_size=3)},
            optional={"subject": TEXT, "time": TEXT, "dataschema": TEXT},
        ),
    },
)


def over_the_wire(message_type: type[Message], body: Any) -> Any:
    """JSON text to a message, over the wire, and back to JSON text."""
    sent = codec.from_dict(message_type, orjson.loads(orjson.dumps(body)))
    return orjson.loads(codec.to_json(message_type.FromString(sent.SerializeToString())))


def same(one: Any, other: Any) -> bool:
    """Equal, and true is not 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def refused(message_type: type[Message], body: Any) -> SidecarError:
    with pytest.raises(SidecarError) as caught:
        codec.from_dict(message_type, body)
    assert (caught.value.kind, caught.value.code) == (Kind.INVALID_REQUEST, "REQ_001")
    return caught.value


class TestRoundTrip:
    @given(CREATE_BODIES)
    def test_results(self, body: dict[str, Any]) -> None:
        assert same(over_the_wire(CreateResultRequest, body), body)

    @given(PUBLISH_BODIES)
    def test_events(self, body: dict[str, Any]) -> None:
        assert same(over_the_wire(PublishEventRequest, body), body)

    @given(st.dictionaries(TEXT, INTEGERS, max_size=5))
    def test_whole_numbers_stay_whole(self, metrics: dict[str, int]) -> None:
        body = {"result": {"status": "success", "metrics": metrics, "sizes": metrics}}
        back = over_the_wire(CreateResultRequest, body)["result"]
        for numbers in (back["metrics"], back["sizes"]):
            assert numbers == metrics and all(type(number) is int for number in numbers.values())

    def test_both_forms_of_file_in_one_list(self) -> None:
        files = ["plain.py", {"path": "b.py"}, "", {"path": "c.py", "changes": []}, {"path": "d.py", "reviewer": None}]
        back = over_the_wire(CreateResultRequest, {"result": {"status": "success", "files_modified": files}})
        assert back["result"]["files_modified"] == files

    def test_absent_fields_have_their_default(self) -> None:
        back = over_the_wire(CreateResultRequest, {"result": {"status": "failed", "errors": None}, "timestamp": None})
        assert "timestamp" not in back and back["agent_id"] == ""
        assert back["result"]["errors"] == [] and back["result"]["metrics"] == {}
        assert "data" not in over_the_wire(PublishEventRequest, {"event_type": "x"})
        assert over_the_wire(PublishEventRequest, {"event_type": "x", "data": {}})["data"] == {}

    def test_depth_is_limited(self) -> None:
        def nested(levels: int) -> dict[str, Any]:
            value: Any = "deep"
            for _ in range(levels):
                value = {"a": value}
            return {"data": value}

        deepest = nested(codec.MAX_DEPTH - 1)
        assert over_the_wire(PublishEventRequest, deepest)["data"] == deepest["data"]
        error = refused(PublishEventRequest, nested(codec.MAX_DEPTH))
        assert error.field == "data" and "data.a.a" in error.message


class TestErrors:
    @pytest.mark.parametrize(
        ("body", "path", "says"),
        [
            ([], "the body", "expected an object, got []"),
            ({"isue_id": "x"}, "isue_id", "did you mean 'issue_id'?"),
            ({"agent_id": 5}, "agent_id", "expected a string, got 5"),
            ({"result": "done"}, "result", 'expected an object, got "done"'),
            ({"result": {"status": "ok"}}, "result.status", '"ok" is not one of: success, partial, failed'),
            ({"result": {"status": 1}}, "result.status", "success, partial, failed"),
            ({"result": {"decisions": "one"}}, "result.decisions", "expected an array"),
            ({"result": {"decisions": ["one", 2]}}, "result.decisions[1]", "expected a string, got 2"),
            ({"result": {"files_created": [5]}}, "result.files_created[0]", "expected a string or an object"),
            ({"result": {"files_created": ["a", {"path": 1}]}}, "result.files_created[1].path", "expected a string"),
            ({"result": {"files_modified": [{"size": "5"}]}}, "result.files_modified[0].size", "expected a number"),
            ({"result": {"files_modified": [{"changes": "x"}]}}, "result.files_modified[0].changes", "an array"),
            ({"result": {"metrics": {"cups": True}}}, "result.metrics.cups", "expected a number, got true"),
            ({"result": {"metrics": {"big": 2**53 + 1}}}, "result.metrics.big", "send it as a string"),
            ({"result": {"notes": {"a": [1, 2**60]}}}, "result.notes.a[1]", "send it as a string"),
            ({"result": {"artifacts": {"report": None}}}, "result.artifacts.report", "expected a string, got null"),
            ({"timestamp": "yesterday"}, "timestamp", "not an RFC 3339 time"),
            ({"timestamp": 1763380800}, "timestamp", "expected a string"),
        ],
    )
    def test_errors_of_a_result_name_the_path(self, body: Any, path: str, says: str) -> None:
        error = refused(CreateResultRequest, body)
        assert says in error.message
        assert error.field == error.details["field"] == path
        assert path.rpartition(".")[2] in error.message

    @pytest.mark.parametrize(
        ("body", "path", "says"),
        [
            ({"data": [1]}, "data", "expected an object, got [1]"),
            ({"data": {"n": [0, {"big": -(2**53) - 1}]}}, "data.n[1].big", "send it as a string"),
            ({"ttl_seconds": "60"}, "ttl_seconds", 'expected an integer, got "60"'),
            ({"ttl_seconds": 1.5}, "ttl_seconds", "expected an integer, got 1.5"),
            ({"ttl_seconds": True}, "ttl_seconds", "expected an integer, got true"),
            ({"ttl_seconds": 2**31}, "ttl_seconds", "is not between"),
            ({"priority": "urgent"}, "priority", '"urgent" is not one of: low, normal, high'),
            ({"tpoic": "x"}, "tpoic", "did you mean 'topic'?"),
            ({"zzz": 1}, "zzz", "allowed: event_type"),
        ],
    )
    def test_errors_of_an_event_name_the_path(self, body: Any, path: str, says: str) -> None:
        error = refused(PublishEventRequest, body)
        assert error.field == path and says in error.message

    @pytest.mark.parametrize("value", [datetime(2026, 1, 1, tzinfo=UTC), Path("a"), b"bytes", {1, 2}, 1j])
    def test_values_that_are_not_json_name_the_path(self, value: object) -> None:
        """Callers of the SDK pass Python values, some of which are not valid JSON."""
        assert "data.what" in refused(PublishEventRequest, {"data": {"what": value}}).message

    @pytest.mark.parametrize("value", [10**30, -(10**30)])
    def test_a_number_out_of_range_is_refused(self, value: int) -> None:
        assert refused(CreateResultRequest, {"result": {"status": value}}).field == "result.status"

    @given(JSON)
    def test_any_json_is_a_message_or_an_error(self, value: Any) -> None:
        for body in (value, {"result": value}, {"result": {"status": "success", "files_created": value}}):
            try:
                codec.from_dict(CreateResultRequest, body)
            except SidecarError as error:
                assert error.code == "REQ_001"


class TestTimes:
    @given(
        st.datetimes(
            min_value=datetime(2, 1, 1),
            max_value=datetime(9998, 12, 31),
            timezones=st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes))),
        )
    )
    def test_any_offset_is_the_same_moment(self, moment: datetime) -> None:
        stamp = codec.parse_rfc3339(moment.isoformat())
        assert stamp.ToDatetime(tzinfo=UTC) == moment
        assert codec.parse_rfc3339(codec.rfc3339(stamp)) == stamp

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("2025-11-17T12:00:00Z", "2025-11-17T12:00:00Z"),
            ("2025-11-17t12:00:00z", "2025-11-17T12:00:00Z"),
            ("2025-11-17 12:00:00+00:00", "2025-11-17T12:00:00Z"),
            ("2025-11-17T13:30:00+01:30", "2025-11-17T12:00:00Z"),
            ("2025-11-17T12:00:00.5Z", "2025-11-17T12:00:00.500000Z"),
            ("2025-11-17T12:00:00.123456789Z", "2025-11-17T12:00:00.123456Z"),
            ("1969-12-31T23:59:59.25Z", "1969-12-31T23:59:59.250000Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
            ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
        ],
    )
    def test_accepted_forms(self, text: str, shown: str) -> None:
        assert codec.rfc3339(codec.parse_rfc3339(text)) == shown

    @pytest.mark.parametrize(
        "text",
        [
            "", "now", "2025-11-17", "2025-11-17T12:00:00", "2025-13-01T00:00:00Z", "2025-02-30T00:00:00Z",
            "2025-11-17T25:00:00Z", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00",
            "2025-11-17T12:00:00.Z", "2025-11-17T12:00:00+0100", "２０２５-11-17T12:00:00Z", "2025-11-17T12:00:00Z\n",
        ],
    )  # fmt: skip
    def test_invalid_times_are_refused(self, text: str) -> None:
        with pytest.raises(SidecarError) as caught:
            codec.parse_rfc3339(text, "since_time")
        assert caught.value.field == "since_time" and "RFC 3339" in caught.value.message

    def test_nanoseconds_of_a_message_are_truncated(self) -> None:
        assert codec.rfc3339(Timestamp(seconds=1, nanos=999_999_999)) == "1970-01-01T00:00:01.999999Z"


class TestBytes:
    @given(st.binary(max_size=50))
    def test_base64_in_any_form_is_read(self, data: bytes) -> None:
        plain = base64.b64encode(data).decode()
        for text in (plain, plain.rstrip("="), plain.translate(str.maketrans("+/", "-_"))):
            made = codec.from_dict(CreateDocumentRequest, {"filename": "a", "data": text})
            assert isinstance(made, CreateDocumentRequest) and made.data == data
        assert codec.to_dict(ReadDocumentResponse(data=data))["data"] == plain

    @pytest.mark.parametrize("text", ["a", "a b=", "ab=c", "ä", 5, ["YQ=="]])
    def test_what_is_none_is_refused(self, text: Any) -> None:
        assert refused(CreateDocumentRequest, {"filename": "a", "data": text}).field == "data"

    def test_of_two_contents_one_is_sent(self) -> None:
        problem = refused(CreateDocumentRequest, {"filename": "a", "text": "x", "data": "eA=="})
        assert problem.field == "data" and "'text' is given as well" in problem.message
