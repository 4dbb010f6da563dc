"""What a client may send on all streams of a connection before it is read (RFC 9113, section 5.2)."""

from __future__ import annotations

from cco_sidecar.rpc.http2.frames import ConnectionFault, ErrorCode

# Octets, as everything here.
RECEIVE_WINDOW = 4 * 2**20
_CREDIT = 256 * 1024


class ReceiveWindow:
    def __init__(self) -> None:
        self._left = RECEIVE_WINDOW
        self._read = 0

    def take(self, octets: int) -> None:
        """Raises ConnectionFault if the client has sent more than it may."""
        self._left -= octets
        if self._left < 0:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "more data than the connection's window allows")

    def acknowledge(self, octets: int) -> int:
        """Counts ``octets`` as read. Returns how many more the client may send now; 0 until they are worth a frame."""
        self._read += octets
        if self._read < _CREDIT:
            return 0
        more, self._read = self._read, 0
        self._left += more
        return more
