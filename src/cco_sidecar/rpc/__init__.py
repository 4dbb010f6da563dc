"""RPC: the interceptor chain, the gRPC server and the in-process transport."""
