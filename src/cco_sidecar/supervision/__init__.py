"""The life of an agent: queue, state, recovery, monitoring, maintenance."""
