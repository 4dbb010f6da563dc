"""Events in NATS JetStream: one stream for each project, which any number of sidecars publish to and follow."""
