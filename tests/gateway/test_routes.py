"""The routes of the protos."""

from __future__ import annotations

import pytest

from cco_sidecar.core.services import services
from cco_sidecar.gateway import routes
from cco_sidecar.gateway.routes import Routes


def test_templates_of_one_shape_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Routes(services()).all
    publish = next(each for each in found if each.template == "/api/events/{event_type}")
    template = "/api/events/{event_id}"
    other = publish._replace(verb="GET", template=template, segments=tuple(template.split("/")[1:]))
    monkeypatch.setattr(routes, "routes_of", lambda _: [publish, other])
    with pytest.raises(TypeError, match="has the shape of"):
        Routes(services())
