"""Sessions: named conversations with an agent, on top of its supervision."""
