"""gRPC calls whose requests never end, which no grpcio client would send."""

from __future__ import annotations

import select
import socket
import struct
import time

import h2.config
import h2.connection
import h2.events
from h2.exceptions import StreamClosedError

from cco_sidecar.testing.process import SidecarProcess


class Unfinished:
    """A connection with calls that each announce a request of ``size`` bytes and hold back the last byte."""

    def __init__(self, sidecar: SidecarProcess) -> None:
        host, _, port = sidecar.target.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), 20)
        self._http = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self._http.initiate_connection()
        self._flush()
        self._left: dict[int, int] = {}
        # Stream -> the gRPC status that it ended with.
        self.statuses: dict[int, str] = {}

    def __enter__(self) -> Unfinished:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def begin(self, method: str, size: int, token: str = "") -> int:
        stream: int = self._http.get_next_available_stream_id()
        headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", method),
            (":authority", "localhost"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ]
        if token:
            headers.append(("authorization", f"Bearer {token}"))
        self._http.send_headers(stream, headers)
        self._http.send_data(stream, struct.pack(">BI", 0, size))
        self._left[stream] = size - 1
        self._flush()
        return stream

    def send_on(self, seconds: float) -> int:
        """Sends whatever the server accepts, until it is silent for ``seconds``; returns the number of bytes sent."""
        sent = 0
        quiet_from = time.monotonic()
        while time.monotonic() < quiet_from + seconds:
            parts = sum(self._next_part(stream) for stream in list(self._left))
            sent += parts
            # While there is something to send, answers are not awaited.
            if self._hear(0.0 if parts else 0.05) or parts:
                quiet_from = time.monotonic()
        return sent

    def _next_part(self, stream: int) -> int:
        try:
            window = self._http.local_flow_control_window(stream)
            part = min(self._left[stream], window, self._http.max_outbound_frame_size)
            if part:
                self._http.send_data(stream, bytes(part))
                self._left[stream] -= part
                self._flush()
        except StreamClosedError:
            del self._left[stream]
            return 0
        return part

    def _hear(self, seconds: float) -> bool:
        if not select.select([self._socket], [], [], seconds)[0]:
            return False
        data = self._socket.recv(65536)
        for event in self._http.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
                status = dict(event.headers).get("grpc-status")
                if status is not None:
                    self.statuses[event.stream_id] = status
        self._flush()
        return bool(data)

    def _flush(self) -> None:
        self._socket.sendall(self._http.data_to_send())
