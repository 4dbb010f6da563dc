"""SchemaService."""
