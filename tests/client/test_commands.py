"""`hub tail` and `hub send`, as their callers see them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from hub import clock
from hub.auth.minting import minter_of
from hub.cli import main
from hub.cli.stream_view import ScreenView, line_of, safe, words_of
from hub.client.event import Event, Reset, RingAgain
from hub.client.state import State
from hub.core.counts import Counts
from hub.settings import load
from tests.client.fakes import WITHIN_S, ScriptedHub


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in [name for name in os.environ if name.startswith("HUB_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("HUB_DATA_DIR", str(tmp_path))
    return tmp_path


# -- send -------------------------------------------------------------------------------------------------------------


class Answers:
    """A hub's REST: one answer for every request; what was asked is kept."""

    def __init__(self) -> None:
        self.status = 201
        self.body: dict[str, Any] = {"id": 5, "user_id": 7, "outcome": "live", "held_until": None}
        self.asked: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.url = ""


@pytest.fixture
def rest_hub() -> Iterator[Answers]:
    answers = Answers()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answers.asked.append((self.path, dict(self.headers), body))
            payload = json.dumps(answers.body).encode()
            self.send_response(answers.status)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    answers.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield answers
    server.shutdown()
    thread.join()
    server.server_close()


def send(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["send", *arguments])


def test_a_notification_is_sent_with_a_token_of_the_hubs_own_key(data_dir: Path, rest_hub: Answers) -> None:
    minter_of(load({}, data_dir=data_dir), clock.token)
    result = send("--url", rest_hub.url, "--to", "7", "--priority", "high", "Call back", "Mrs. Ada")
    assert (result.exit_code, result.stdout) == (0, "Notification 5 for user 7 is live.\n")
    ((path, headers, body),) = rest_hub.asked
    assert path == "/api/v1/notifications"
    assert body == {"user_id": 7, "type": "system", "title": "Call back", "message": "Mrs. Ada", "priority": "high"}
    assert headers["Authorization"].count(".") == 2
    assert headers["Idempotency-Key"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"outcome": "held", "held_until": "2026-11-23T07:00:00Z"}, "held until 2026-11-23T07:00:00Z"),
        ({"outcome": "held", "held_until": None}, "held without an end"),
        ({"outcome": "muted"}, "muted"),
        ({"outcome": "expired"}, "expired already"),
    ],
)
def test_it_says_what_became_of_it(data_dir: Path, rest_hub: Answers, fields: dict[str, Any], words: str) -> None:
    rest_hub.body |= fields
    result = send("--url", rest_hub.url, "--token", "hk_key", "--to", "7", "a", "b")
    assert words in result.stdout
    assert rest_hub.asked[0][1]["Authorization"] == "Bearer hk_key"


def test_a_refusal_is_one_sentence_for_each_field(data_dir: Path, rest_hub: Answers) -> None:
    rest_hub.status = 422
    errors = [{"path": "$.title", "message": "Must not be blank."}, {"path": "$.message", "message": "Too long."}]
    rest_hub.body = {"title": "Invalid", "status": 422, "errors": errors}
    result = send("--url", rest_hub.url, "--token", "t", "--to", "7", "", "b")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "title: Must not be blank.\nmessage: Too long.\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--url", "hub", "--token", "t"], "'hub' is not the address of a hub"),
        (["--token", "t", "--tenant", "acme"], "A token says already who calls"),
        (["--url", "http://hub.example"], "only for a hub on this machine"),
        ([], "There is no key in"),
    ],
)
def test_what_cannot_be_asked_for_is_a_sentence(data_dir: Path, arguments: list[str], words: str) -> None:
    for command in (["send", "--to", "7", "a", "b"], ["tail"]):
        result = CliRunner().invoke(main, [*command, *arguments])
        assert result.exit_code == 2
        assert words in result.stderr
        assert not list(data_dir.iterdir()), "a key was made that no hub has"


@pytest.mark.parametrize("tenant", ["", "a b", "x" * 65])
def test_a_tenant_that_cannot_be_is_a_sentence(data_dir: Path, tenant: str) -> None:
    minter_of(load({}, data_dir=data_dir), clock.token)
    assert CliRunner().invoke(main, ["tail", "--tenant", tenant]).exit_code == 2


def test_a_token_and_a_user_are_one_too_many(data_dir: Path) -> None:
    assert CliRunner().invoke(main, ["tail", "--user", "7"], env={"HUB_TOKEN": "t"}).exit_code == 2


# -- tail -------------------------------------------------------------------------------------------------------------


class Tail:
    """A running `hub tail`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self.process = process
        self.out = process.stdout
        self.err = process.stderr

    async def line(self) -> dict[str, Any]:
        async with asyncio.timeout(2 * WITHIN_S):
            return json.loads(await self.out.readline())

    async def word(self) -> str:
        async with asyncio.timeout(2 * WITHIN_S):
            return (await self.err.readline()).decode().strip()

    async def ended(self) -> int:
        async with asyncio.timeout(2 * WITHIN_S):
            return await self.process.wait()


async def tail(url: str, *arguments: str) -> Tail:
    code = "from hub.cli import main; main(prog_name='hub')"
    return Tail(
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, "tail", "--url", url, *arguments,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "HUB_TOKEN": "t"},
        )
    )  # fmt: skip


async def test_tail_comes_back_shows_its_state_and_ends_without_noise(data_dir: Path, scripted: ScriptedHub) -> None:
    running = await tail(scripted.url, "--json")
    assert await running.word() == "connecting"
    peer = await scripted.accept()
    assert (await peer.welcome("fresh", 4))["device"] == "hub tail"
    assert await running.word() == "live"
    await peer.event(5)
    assert (await running.line())["type"] == "reset"
    line = await running.line()
    assert (line["type"], line["seq"], line["data"]) == ("event", 5, {"id": 5})
    await peer.close(1012, "restarting", 10)
    assert (await running.word()).startswith("reconnecting in 0.0 s (the hub is restarting")
    peer = await scripted.accept()
    assert (await peer.welcome("replay", 5, 6))["cursor"] == 5
    await peer.event(6)
    assert (await running.line())["seq"] == 6
    running.process.send_signal(signal.SIGINT)
    assert await peer.gone() == 1000
    assert await running.ended() == 0
    assert "Traceback" not in (await running.err.read()).decode()


async def test_tail_says_why_there_is_no_coming_back(data_dir: Path, scripted: ScriptedHub) -> None:
    running = await tail(scripted.url)
    peer = await scripted.accept()
    await peer.welcome("replay", 0)
    await peer.close(4403, "the token was revoked")
    assert await running.ended() == 1
    said = (await running.err.read()).decode().splitlines()
    assert said[-1] == "Stopped: the hub forbids it: the token was revoked."


# -- words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (State(phase="connecting"), "connecting"),
        (State(phase="catching_up", done=3, total=9), "catching up 3 of 9"),
        (State(phase="live"), "live"),
        (State(phase="waiting", retry_in_s=1.84, why="gone"), "reconnecting in 1.8 s (gone)"),
        (State(phase="stopped", why="forbidden"), "stopped (forbidden)"),
    ],
)
def test_the_connection_in_words(state: State, words: str) -> None:
    assert words_of(state) == words


@pytest.mark.parametrize("evil", ["\x1b[2J", "\x07", "a\nb", "\u202eabc", "\u2066x", "\x9b31m", "\ud800", "\u2028"])
def test_a_producer_cannot_move_the_cursor_of_a_terminal(evil: str) -> None:
    event = Event(seq=1, kind="notification.created", data={"id": 1, "title": evil, "message": evil, "type": evil})
    plain = line_of(event).plain
    assert not set(plain) & set("\x1b\x07\n\u202e\u2066\x9b\ud800\u2028")
    assert len(safe("x" * 4000)) == 500
    assert safe("نام ‌Ada 👩‍💻") == "نام ‌Ada 👩‍💻"


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (Event(seq=1, kind="notification.created", data={"id": 2, "title": "Call", "ring": 1}, ring=True), "[ring]"),
        (Event(seq=1, kind="notification.updated", data={"id": 2, "title": "Call", "is_read": True}), "2: read  Call"),
        (Event(seq=1, kind="notification.deleted", data={"id": 2, "replaced_by": 3}), "deleted 2: replaced_by 3"),
        (Event(seq=1, kind="notifications.read_all", data={"before_seq": 2, "count": 3}), "before_seq 2, count 3"),
        (Event(seq=1, kind="task.updated", data={"id": 2, "title": "Offer"}), "task.updated 2: Offer"),
        (Event(seq=None, kind="inbox.erased", data=None), "inbox.erased"),
        (Reset(cause="reset", epoch="e", cursor=4, counts=Counts(unread=2)), "(after 4, 2 unread)"),
        (RingAgain(seq=4, id=9), "nobody has answered 9"),
    ],
)
def test_items_in_words(item: Any, words: str) -> None:
    assert words in line_of(item, getattr(item, "counts", None)).plain


def test_the_screen_shows_items_above_the_state(monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull, "w") as sink:
        console = Console(file=sink, force_terminal=True, width=100, record=True)
        view = ScreenView(console)
        with view:
            view.state(State(phase="waiting", retry_in_s=5.0, why="gone"))
            view.item(Event(seq=1, kind="notification.created", data={"title": "Call [b]back[/b]"}), Counts(unread=3))
            status = view._status().plain
        assert "Call [b]back[/b]" in console.export_text()
    assert status.startswith("● reconnecting in ")
    assert status.endswith("3 unread, 0 unseen")
