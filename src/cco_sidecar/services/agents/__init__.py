"""AgentService: agents, their types and their tokens."""
