"""The HTTP servers of the Agent Orchestrator Framework, for its own commands and clients: Agent Runtime (8765), Context
Store (8766) and Agent Registry (8767). They are forms of the same calls."""
