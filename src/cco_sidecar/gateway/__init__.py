"""The REST gateway: routes and rules from the descriptors, calls through the same chain as gRPC."""
