"""Launching and watching agent programs: presets, shim, sandbox, limits, logs, worktrees."""
