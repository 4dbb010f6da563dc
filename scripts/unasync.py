"""Writes client/sync.py from client/aio.py, so that the two clients cannot drift apart. Run by `make gen`."""

from pathlib import Path

CLIENT = Path(__file__).resolve().parent.parent / "src" / "cco_sidecar" / "client"
NOTE = "# Written by scripts/unasync.py from aio.py; change that file.\n"
CHANGES = (
    ('"""The asynchronous client."""', f'{NOTE}"""The synchronous client."""'),
    ("import asyncio\nimport logging\n", "import logging\nimport threading\nimport time\n"),
    ("import grpc\nimport grpc.aio\n", "import grpc\n"),
    ("AsyncIterator", "Iterator"),
    ("AsyncClient", "Client"),
    ("async def ", "def "),
    ("async with ", "with "),
    ("async for ", "for "),
    ("await asyncio.sleep", "time.sleep"),
    ("await ", ""),
    ("asyncio.Lock()", "threading.Lock()"),
    ("__aenter__", "__enter__"),
    ("__aexit__", "__exit__"),
    ("grpc.aio.", "grpc."),
)

text = (CLIENT / "aio.py").read_text()
for old, new in CHANGES:
    text = text.replace(old, new)
(CLIENT / "sync.py").write_text(text)
