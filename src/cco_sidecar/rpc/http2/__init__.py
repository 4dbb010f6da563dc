"""A gRPC server on asyncio: HTTP/2 (RFC 9113), HPACK (RFC 7541, by the hpack library) and gRPC's own framing."""
