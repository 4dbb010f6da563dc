"""Generates the synchronous client from the asynchronous one, so that the two cannot drift apart. Run by `make gen`."""

from pathlib import Path

CLIENT = Path(__file__).resolve().parent.parent / "src" / "cco_sidecar" / "client"
MODULES = {
    "aio.py": "sync.py",
    "aio_agents.py": "sync_agents.py",
    "aio_blueprints.py": "sync_blueprints.py",
    "aio_calls.py": "sync_calls.py",
    "aio_circuits.py": "sync_circuits.py",
    "aio_consumers.py": "sync_consumers.py",
    "aio_documents.py": "sync_documents.py",
    "aio_events.py": "sync_events.py",
    "aio_knowledge.py": "sync_knowledge.py",
    "aio_patterns.py": "sync_patterns.py",
    "aio_runners.py": "sync_runners.py",
    "aio_schedules.py": "sync_schedules.py",
    "aio_schemas.py": "sync_schemas.py",
    "aio_sessions.py": "sync_sessions.py",
    "aio_streams.py": "sync_streams.py",
    "aio_webhooks.py": "sync_webhooks.py",
}
CHANGES = (
    ("import asyncio\nimport logging\n", "import logging\nimport threading\nimport time\n"),
    ("import asyncio\n", "import time\n"),
    ("import grpc\nimport grpc.aio\n", "import grpc\n"),
    ("asynchronous client", "synchronous client"),
    ("client.aio", "client.sync"),
    ("aclosing", "closing"),
    ("client.aio_", "client.sync_"),
    ("AsyncCalls", "Calls"),
    ("AsyncIterator", "Iterator"),
    ("AsyncGenerator[Any, None]", "Generator[Any, None, None]"),
    ("AsyncGenerator", "Generator"),
    ("AsyncClient", "Client"),
    ("import Awaitable, Callable", "import Callable"),
    ("Awaitable[Mapping[str, Any]]", "Mapping[str, Any]"),
    ("Awaitable[T]", "T"),
    ("async def ", "def "),
    ("async with ", "with "),
    ("async for ", "for "),
    ("await asyncio.sleep", "time.sleep"),
    ("await asyncio.to_thread(self._tls.problem, self._target.address)", "self._tls.problem(self._target.address)"),
    ("await ", ""),
    ("asyncio.Lock()", "threading.Lock()"),
    ("__aenter__", "__enter__"),
    ("__aexit__", "__exit__"),
    ("grpc.aio.", "grpc."),
)

for source, target in MODULES.items():
    text = (CLIENT / source).read_text()
    for old, new in CHANGES:
        text = text.replace(old, new)
    note = f"# Written by scripts/unasync.py from {source}; change that file.\n"
    (CLIENT / target).write_text(note + text)
