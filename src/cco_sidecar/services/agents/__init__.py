"""AgentService: types and identities."""
