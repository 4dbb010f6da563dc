"""The message of AutoGen's agents, which must be a module's own class."""

from dataclasses import dataclass


@dataclass
class Message:
    project: str
    severity: int
    branch: str
    ok: bool
    commit: str
    message: str
    n: int
    t: int
