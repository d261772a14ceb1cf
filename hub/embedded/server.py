"""What the supervisor needs to know of a server, whichever it is."""

from __future__ import annotations

from typing import Protocol

from hub.embedded.process import Command


class Server(Protocol):
    """One embedded server in its directory: its files and its commands, not its process."""

    @property
    def name(self) -> str:
        """As people say it: `PostgreSQL`."""
        ...

    @property
    def port(self) -> int:
        """Known once it was prepared."""
        ...

    @property
    def url(self) -> str:
        """Known once it was prepared; the same until it is prepared anew."""
        ...

    async def prepare(self, *, another_port: bool = False) -> None:
        """Bring the directory into the state in which the command can run, whatever the last run left there.

        Chooses the port; with `another_port` not the remembered one. Raises: `EmbeddedError`.
        """
        ...

    async def end_rest(self) -> None:
        """End every process that is left of it once it is dead, whoever started it; return when none is."""
        ...

    async def clear(self) -> None:
        """End the rest and remove what a dead server left behind, so that it can be started again on the same port."""
        ...

    def command(self) -> Command:
        """What starts the server in the foreground."""
        ...

    async def is_answering(self) -> bool:
        """Whether it answers as ours: with its password. Never raises for one that does not; bounded in time."""
        ...

    def is_ending(self) -> bool:
        """Whether it takes no new connections because somebody else told it to end, and waits for the last old one."""
        ...

    async def complete(self) -> None:
        """Make what a running server must hold besides its files. Idempotent."""
        ...

    def last_words(self) -> str:
        """Why the log says it ended; empty where it says nothing."""
        ...
