"""KnowledgeService."""
