"""How calls are carried: one chain of interceptors, a gRPC server, an in-process dispatcher."""
