"""Records in a SQL database."""
