"""ContextService: the right files, history and decisions for this agent and this task."""
