"""A server that dies while the hub lives comes back where it was."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import asyncpg
import pytest

from hub.embedded.endpoint import HOST
from hub.embedded.errors import ServerFailed
from hub.embedded.supervisor import ServerStatistics, Supervisor
from hub.embedded.valkey import Valkey
from tests.embedded.harness import Words, account, bounded, ping, services, until, works


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGINT, signal.SIGTERM])
@bounded
async def test_a_postgres_that_dies_comes_back_on_its_url_with_all_that_was_committed(
    data_dir: Path, words: Words, number: signal.Signals, caplog: pytest.LogCaptureFixture
):
    servers = services(data_dir, valkey=False)
    async with servers as urls:
        assert urls.database_url is not None
        await words.write(urls.database_url, "before")
        # A session that stays does not keep the server from going, nor the next from coming.
        busy = await asyncpg.connect(urls.database_url)
        first = _postgres(servers)
        assert first.pid is not None
        os.kill(first.pid, number)
        await until(lambda: _postgres(servers).restarts == 1 and _postgres(servers).is_answering)
        busy.terminate()
        await words.write(urls.database_url, "since")
        assert await words.read(urls.database_url) == ["before", "since"]
        assert await servers.start() == urls
        assert _postgres(servers).pid != first.pid
        assert _postgres(servers).port == first.port
    assert "PostgreSQL" in caplog.text
    assert "ended by itself" in caplog.text


@bounded
async def test_a_valkey_that_dies_again_and_again_comes_back_each_time(data_dir: Path):
    servers = services(data_dir, postgres=False)
    async with servers as urls:
        for times in (1, 2, 3):
            now = servers.statistics().valkey
            assert now is not None
            assert now.pid is not None
            os.kill(now.pid, signal.SIGKILL)
            await until(lambda times=times: _is_back(servers.statistics().valkey, times))
            assert await ping(urls.redis_url)


@bounded
async def test_the_servers_share_no_session_and_no_group_with_the_hub(data_dir: Path):
    # Else a Ctrl-C at the terminal would end them before the hub has said that they may.
    servers = services(data_dir)
    async with servers:
        now = servers.statistics()
        assert now.postgres is not None
        assert now.valkey is not None
        for pid in (now.postgres.pid, now.valkey.pid):
            assert pid is not None
            assert (os.getsid(pid), os.getpgid(pid)) == (pid, pid)


@bounded
async def test_stop_ends_in_order_what_is_frozen_or_already_dead(data_dir: Path):
    servers = services(data_dir)
    await servers.start()
    now = servers.statistics()
    assert now.postgres is not None
    assert now.valkey is not None
    assert now.postgres.pid is not None
    assert now.valkey.pid is not None
    os.kill(now.postgres.pid, signal.SIGSTOP)
    os.kill(now.valkey.pid, signal.SIGKILL)
    await servers.stop()
    assert not works(now.postgres.pid, data_dir)
    # A fast shutdown in order removes it; one that was killed leaves it.
    assert not (data_dir / "postgres" / "data" / "postmaster.pid").exists()


class _Obstructed(Valkey):
    """Whose port is taken by another, from its crash until that gives it up."""

    taken_by: socket.socket | None = None
    refusals = 0

    async def clear(self) -> None:
        await super().clear()
        if self._endpoint is not None and self.taken_by is None:
            self.taken_by = _listen(self.port)

    def last_words(self) -> str:
        self.refusals += 1
        return super().last_words()


@bounded
async def test_a_server_whose_port_is_taken_when_it_crashed_waits_for_that_port(data_dir: Path):
    server = _Obstructed(data_dir / "valkey", account(data_dir))
    supervisor = Supervisor(server)
    url = await supervisor.start()
    try:
        pid = supervisor.statistics().pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        # Twice it was tried in vain.
        await until(lambda: supervisor.statistics().restarts >= 3)
        assert not supervisor.statistics().is_answering
        assert server.taken_by is not None
        server.taken_by.close()
        await until(lambda: supervisor.statistics().is_answering)
        assert server.url == url
        assert await ping(url)
    finally:
        await supervisor.stop()


class _Unlucky(Valkey):
    """Whose port is taken by another between its choice and its use, the first `times`."""

    times = 1

    async def prepare(self, *, another_port: bool = False) -> None:
        await super().prepare(another_port=another_port)
        self.tried = [*getattr(self, "tried", []), self.port]
        if len(self.tried) <= self.times:
            self.obstacles = [*getattr(self, "obstacles", []), _listen(self.port)]


@bounded
async def test_a_port_that_is_taken_in_the_last_instant_is_exchanged_for_another(data_dir: Path):
    server = _Unlucky(data_dir / "valkey", account(data_dir))
    supervisor = Supervisor(server)
    try:
        assert await ping(await supervisor.start())
        assert len(set(server.tried)) == 2
        assert server.port == server.tried[1]
    finally:
        await supervisor.stop()
        for obstacle in server.obstacles:
            obstacle.close()


@bounded
async def test_ports_that_are_taken_each_time_are_said_to_be(data_dir: Path):
    server = _Unlucky(data_dir / "valkey", account(data_dir))
    server.times = 100
    try:
        with pytest.raises(ServerFailed, match=r"Valkey did not start: .*Failed listening on port"):
            await Supervisor(server).start()
        assert len(set(server.tried)) == 3
    finally:
        for obstacle in server.obstacles:
            obstacle.close()


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((HOST, port))
    listener.listen(1)
    return listener


def _postgres(servers: object) -> ServerStatistics:
    now = servers.statistics().postgres  # type: ignore[attr-defined]
    assert now is not None
    return now


def _is_back(now: ServerStatistics | None, times: int) -> bool:
    return now is not None and now.restarts == times and now.is_answering
