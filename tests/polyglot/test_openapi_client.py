"""A client that an off-the-shelf generator (@hey-api/openapi-ts) makes from /openapi.json, against the real server."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import requests
from tests.polyglot import published
from tests.support.sidecars import fresh

from cco_sidecar.core.services import services
from cco_sidecar.gateway.routes import routes_of
from cco_sidecar.testing.process import SidecarProcess

pytestmark = pytest.mark.polyglot

PACKAGES = {"@hey-api/openapi-ts": "0.99.0", "@types/node": "20.19.25", "typescript": "5.9.3"}
OPTIONS = (
    "--strict --target es2022 --module es2022 --moduleResolution bundler --skipLibCheck --types node --outDir build"
)

USER = """
import { client } from "./api/client.gen";
import {
  eventServiceListEvents, eventServicePublishEvent, resultServiceCreateResult, resultServiceGetResult,
  systemServiceGetHealth, systemServiceGetMetrics,
} from "./api/sdk.gen";

const [url, token] = process.argv.slice(2);
client.setConfig({ baseUrl: url, auth: token });
const health = await systemServiceGetHealth();
console.log(health.data?.status, health.data?.service);
const published = await eventServicePublishEvent({
  path: { event_type: "tests_passing" }, body: { topic: "testing", data: { count: 12, deep: [{ a: null }] } },
});
const event = published.data!;
console.log(published.response?.status, event.published);
const listed = await eventServiceListEvents({ query: { since: "0", topic: "testing" } });
console.log(JSON.stringify(listed.data?.events?.find((each) => each.event_id === event.event_id)?.data));
const stored = await resultServiceCreateResult({ body: { result: { status: "success", decisions: ["JWT"] } } });
const result = await resultServiceGetResult({ path: { id: stored.data!.id! } });
console.log(result.data?.result?.decisions);
const missing = await resultServiceGetResult({ path: { id: "res-nothing" } });
console.log(missing.response?.status, missing.error?.code);
const metrics = await systemServiceGetMetrics();
console.log(String(metrics.data).includes("sidecar_events_published_total"));
"""


def test_a_generated_client_drives_the_server(sidecar: SidecarProcess) -> None:
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    # Kept between runs, for its packages.
    directory = published.WORK / "openapi-client"
    directory.mkdir(parents=True, exist_ok=True)
    description = {"name": "user", "private": True, "type": "module", "dependencies": PACKAGES}
    (directory / "package.json").write_text(json.dumps(description))
    (directory / "openapi.json").write_bytes(requests.get(f"{sidecar.url}/openapi.json", timeout=10).content)
    (directory / "user.ts").write_text(USER)
    _in(directory, "npm install --silent --no-audit --no-fund --no-package-lock")
    _in(directory, "npx openapi-ts -i openapi.json -o api -c @hey-api/client-fetch")
    generated = (directory / "api" / "sdk.gen.ts").read_text()
    assert generated.count("export const ") >= sum(1 for service in services() for _ in routes_of(service))
    _in(directory, f"npx tsc {OPTIONS} user.ts")
    # Node wants the names of files in imports.
    _in(directory, "npx --yes esbuild@0.25.12 user.ts --bundle --platform=node --format=esm --outfile=build/user.js")
    token = sidecar.agent(issue=fresh("issue")).token
    assert _in(directory, f"node build/user.js {sidecar.url} {token}").splitlines() == [
        "healthy orchestration-sidecar",
        "202 true",
        '{"count":12,"deep":[{"a":null}]}',
        "[ 'JWT' ]",
        "404 RES_001",
        "true",
    ]


def _in(directory: Path, command: str) -> str:
    return published.run("sh", "-c", f"cd {directory} && {command}")
