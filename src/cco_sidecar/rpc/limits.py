"""What the gRPC port accepts; both servers keep these limits."""

from __future__ import annotations

# A request over its method's own limit gets a clear error; the server itself rejects anything over this limit.
MAX_RECEIVE_BYTES = 5 * 2**20
# In the size of RFC 9113, section 10.5.1: names, values and 32 octets for each.
MAX_HEADER_BYTES = 32 * 1024
# Per connection; more than a team needs on one channel.
MAX_STREAMS = 2000
HANDSHAKE_SECONDS = 10.0
IDLE_SECONDS = 3600.0
# A connection that is silent for so long is asked for a sign of life.
SILENT_SECONDS = 60.0
