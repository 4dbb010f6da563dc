"""Minimal peer servers that our chain is compared with in the same run.

``python -m bench.peers grpc PORT`` is a grpc.aio echo server; ``python -m bench.peers asgi PORT`` an ASGI handler on
uvicorn. Both run on uvloop, like the sidecar.
"""

from __future__ import annotations

import sys
from typing import Any

import grpc
import grpc.aio
import uvicorn
import uvloop


async def grpc_echo(port: int) -> None:
    async def echo(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        return request

    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(echo)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("bench.Echo", {"Echo": handler})])
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    print("ready", flush=True)
    await server.wait_for_termination()


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"11")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b'{"ok":true}'})


def main() -> None:
    kind, port = sys.argv[1], int(sys.argv[2])
    if kind == "grpc":
        uvloop.run(grpc_echo(port))
    else:
        print("ready", flush=True)
        uvicorn.run(
            asgi,
            host="127.0.0.1",
            port=port,
            loop="uvloop",
            http="httptools",
            lifespan="off",
            access_log=False,
            log_level="error",
        )


if __name__ == "__main__":
    main()
