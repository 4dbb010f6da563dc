"""The tools of the Model Context Protocol: the same calls, for programs that speak MCP."""
