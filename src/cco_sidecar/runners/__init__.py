"""How a program is launched and watched: presets, shim, sandbox, limits, logs, worktrees."""
