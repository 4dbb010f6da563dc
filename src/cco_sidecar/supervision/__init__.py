"""The lifecycle of agents: queue, state machine, recovery, monitoring and maintenance."""
