"""Whatever the last run left, the next one starts; and no two run in one directory."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from hub.embedded import DataDirectoryInUse, DataDirectoryRefused
from tests.embedded.harness import (
    Words,
    account,
    anyone_works,
    bounded,
    hub_process,
    ping,
    services,
    until,
    works,
)  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
@bounded
async def test_the_servers_of_a_killed_hub_end_by_themselves(data_dir: Path, words: Words):
    async with hub_process(data_dir) as hub:
        await words.write(hub.database_url, "kept")
        await hub.kill()
        await until(lambda: not anyone_works(data_dir))
    async with services(data_dir) as urls:
        assert (urls.database_url, urls.redis_url) == (hub.database_url, hub.redis_url)
        assert await words.read(urls.database_url) == ["kept"]


@bounded
async def test_the_next_hub_starts_in_the_instant_in_which_the_last_was_killed(data_dir: Path, words: Words):
    async with hub_process(data_dir) as hub:
        for word in ("first", "second", "third"):
            await words.write(hub.database_url, word)
        await hub.kill()
        async with services(data_dir) as urls:
            assert await words.read(urls.database_url) == ["first", "second", "third"]
            assert await ping(urls.redis_url)


@pytest.mark.parametrize("frozen", [False, True])
@bounded
async def test_servers_that_outlived_their_hub_are_ended_and_started_anew(data_dir: Path, words: Words, frozen: bool):
    async with hub_process(data_dir, dies_with_hub=False) as hub:
        await words.write(hub.database_url, "kept")
        if frozen:
            for pid in hub.pids:
                os.kill(pid, signal.SIGSTOP)
        await hub.kill()
        assert all(works(pid, data_dir) for pid in hub.pids)
        async with services(data_dir) as urls:
            assert not any(works(pid, data_dir) for pid in hub.pids)
            assert (urls.database_url, urls.redis_url) == (hub.database_url, hub.redis_url)
            assert await words.read(urls.database_url) == ["kept"]
            assert await ping(urls.redis_url)


@bounded
async def test_a_hub_that_is_asked_to_end_ends_its_servers_first(data_dir: Path):
    async with hub_process(data_dir) as hub:
        assert await hub.terminate() == 0
        assert not anyone_works(data_dir)
        assert not (data_dir / "postgres" / "data" / "postmaster.pid").exists()


@bounded
async def test_a_pid_file_whose_pid_went_to_another_process_is_no_obstacle_and_that_process_lives(
    data_dir: Path, words: Words
):
    async with services(data_dir, valkey=False) as urls:
        await words.write(urls.database_url, "kept")
        pid_file = data_dir / "postgres" / "data" / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
    # Of the same account: another account's PostgreSQL would overlook by itself.
    uid = account(data_dir).uid
    stranger = await asyncio.create_subprocess_exec("/bin/sleep", "600", user=uid if uid != os.geteuid() else None)
    try:
        pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
        (data_dir / "embedded.lock").write_text(f"{stranger.pid}\n")
        async with services(data_dir, valkey=False) as urls:
            assert await words.read(urls.database_url) == ["kept"]
        assert stranger.returncode is None
    finally:
        stranger.kill()
        await stranger.wait()


@bounded
async def test_a_second_hub_on_one_directory_is_refused_and_the_first_does_not_notice(data_dir: Path, words: Words):
    async with hub_process(data_dir) as hub:
        sentence = rf"another hub \(process {hub.process.pid}\) runs its servers in .*: stop it, or give another"
        with pytest.raises(DataDirectoryInUse, match=sentence):
            await services(data_dir).start()
        await words.write(hub.database_url, "undisturbed")
        assert await ping(hub.redis_url)
        assert await hub.terminate() == 0
    async with services(data_dir) as urls:
        assert await words.read(urls.database_url) == ["undisturbed"]
        with pytest.raises(DataDirectoryInUse):
            await services(data_dir).start()
        assert await ping(urls.redis_url)


@bounded
async def test_a_remembered_port_that_another_process_took_is_exchanged_for_a_free_one(data_dir: Path, words: Words):
    async with services(data_dir) as before:
        await words.write(before.database_url, "kept")
    with socket.socket() as taken_1, socket.socket() as taken_2:
        for taken, url in ((taken_1, before.database_url), (taken_2, before.redis_url)):
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(("127.0.0.1", _port(url)))
            taken.listen(1)
        async with services(data_dir) as moved:
            assert _port(moved.database_url) != _port(before.database_url)
            assert _port(moved.redis_url) != _port(before.redis_url)
            assert await words.read(moved.database_url) == ["kept"]
            assert await ping(moved.redis_url)
    async with services(data_dir) as after:
        assert after == moved


@bounded
async def test_a_hub_killed_while_it_made_its_cluster_leaves_nothing_half_made(new_data_dir: Path, words: Words):
    made = new_data_dir / "postgres" / "data"
    async with hub_process(new_data_dir, hears=False) as hub:
        await until(lambda: any(new_data_dir.glob("postgres/data.new-*/PG_VERSION")))
        await hub.kill()
        assert not made.exists()
    async with services(new_data_dir) as urls:
        await words.write(urls.database_url, "works")
        assert await words.read(urls.database_url) == ["works"]
    await until(lambda: not anyone_works(new_data_dir))
    async with services(new_data_dir) as urls:
        assert await words.read(urls.database_url) == ["works"]
        assert not any(name.startswith("data.new") for name in os.listdir(new_data_dir / "postgres"))


@pytest.mark.parametrize("damage", ["lost", "empty", "torn", "of another kind"])
@bounded
async def test_data_outlive_the_loss_of_the_file_with_their_password(data_dir: Path, words: Words, damage: str):
    async with services(data_dir, valkey=False) as before:
        await words.write(before.database_url, "kept")
    remembered = data_dir / "postgres" / "server.json"
    text = remembered.read_bytes()
    damaged = {"empty": b"", "torn": text[: len(text) // 2], "of another kind": b'{"port": "x"}'}
    if damage == "lost":
        remembered.unlink()
    else:
        remembered.write_bytes(damaged[damage])
    async with services(data_dir, valkey=False) as after:
        assert after.database_url != before.database_url
        assert await words.read(after.database_url) == ["kept"]
    async with services(data_dir, valkey=False) as again:
        assert again == after


@pytest.fixture
def a_file(tmp_path: Path) -> Path:
    (tmp_path / "a file").touch()
    return tmp_path / "a file"


@bounded
async def test_a_directory_that_cannot_be_used_is_refused_in_one_sentence(a_file: Path):
    with pytest.raises(DataDirectoryRefused, match=r"/a file cannot be used: .*File exists"):
        await services(a_file).start()


@bounded
async def test_files_that_are_no_cluster_are_refused_and_never_replaced(new_data_dir: Path):
    treasure = new_data_dir / "postgres" / "data" / "base" / "1"
    treasure.mkdir(parents=True)
    for _ in range(2):
        with pytest.raises(DataDirectoryRefused, match=r"holds files but no cluster .*PG_VERSION is missing"):
            await services(new_data_dir, valkey=False).start()
    assert treasure.exists()


@bounded
async def test_what_only_looks_like_ours_is_left_alone(data_dir: Path):
    # Its program is not the server's, but it works in the server's directory.
    neighbour = await asyncio.create_subprocess_exec("/bin/sleep", "600", cwd=data_dir / "valkey")
    try:
        async with services(data_dir, postgres=False) as urls:
            assert await ping(urls.redis_url)
            assert neighbour.returncode is None
    finally:
        neighbour.kill()
        await neighbour.wait()


def _port(url: str | None) -> int:
    return int((url or "").rsplit(":", 1)[1].split("/")[0])
