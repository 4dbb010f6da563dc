"""AutoGen's agent and its message. They are in a module of their own, because AutoGen looks up their annotations."""

from collections.abc import Callable
from dataclasses import dataclass

from autogen_core import MessageContext, RoutedAgent, message_handler


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


class Subscriber(RoutedAgent):
    def __init__(self, received: Callable[[int, int], None]) -> None:
        super().__init__("a subscriber")
        self._received = received

    @message_handler
    async def receive(self, message: Message, ctx: MessageContext) -> None:
        self._received(message.n, message.t)
