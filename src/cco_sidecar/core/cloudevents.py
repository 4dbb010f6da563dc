"""Events as CloudEvents 1.0 in JSON (CloudEvents JSON Event Format 1.0.2).

An event has a field for most attributes: ``type``, ``data``, and the extensions below. The others are kept beside it,
so an event that came as a CloudEvent leaves as the same one.
"""

from __future__ import annotations

from typing import Any

from cco_sidecar.core import codec
from orchestra.v1.event_service_pb2 import Event

STRUCTURED = "application/cloudevents+json"
VERSION = "1.0"
# Attributes that are kept as they came, and those that are fields of an event.
KEPT = ("subject", "time", "dataschema")
FIELDS = {
    "topic": "topic",
    "correlationid": "correlation_id",
    "causationid": "causation_id",
    "statekey": "state_key",
    "traceparent": "traceparent",
    "tracestate": "tracestate",
}


def cloud_event_of(event: Event) -> dict[str, Any]:
    """Returns an event as a CloudEvent in JSON."""
    fields = codec.to_dict(event)
    given = event.cloud_event if event.HasField("cloud_event") else None
    made: dict[str, Any] = {
        "specversion": VERSION,
        "id": given.id if given and given.id else event.event_id,
        "source": given.source if given and given.source else f"/agents/{event.publisher}",
        "type": event.event_type,
        "time": fields["timestamp"],
        "datacontenttype": "application/json",
        "data": fields["data"],
        # Where to continue, and who it was.
        "eventid": event.event_id,
        "publisher": event.publisher,
    }
    made |= {name: fields[ours] for name, ours in FIELDS.items() if fields.get(ours)}
    if given is not None:
        made |= {name: value for name, value in given.extensions.items() if name not in made}
        made |= {name: getattr(given, name) for name in KEPT if given.HasField(name)}
    return made
