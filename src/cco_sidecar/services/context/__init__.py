"""ContextService: the relevant files, history and decisions for an agent and its task."""
