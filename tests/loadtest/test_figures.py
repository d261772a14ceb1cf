"""What the benchmarks make of what they count: percentiles, ratios, goals, plots. That they run is theirs to show."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import hiredis
import pytest

from hub.core.event import decode_hint
from loadtest.bench import Plan, Run, report
from loadtest.fanout import Figures
from loadtest.hub_server import Template, publish_command, shuffled
from loadtest.plot import bars, lines
from loadtest.writes import percentile_ms

_TEMPLATE = Template(
    epoch="e",
    kind="notification.created",
    lane=2,
    rings=True,
    released=False,
    tail=b'"kind":"notification.created","data":{"id":77,"tenant_id":"bench","user_id":900,"title":"id 77"}}',
    user_id=900,
    notification_id=77,
)


def _figures(target: str, all_one: float, *, idle_kb: float = 3.0) -> Figures:
    return Figures(
        target=target,
        connections=10,
        handshakes_per_s=1000.0,
        idle_kb=idle_kb,
        all_one_per_s=all_one,
        all_one_cpu_us=1.0,
        all_four_per_s=1.0,
        all_four_cpu_us=1.0,
        one_per_s=1.0,
        one_cpu_us=1.0,
        client_cpu_us=2.0,
    )


def _histogram(*counts: float) -> dict[str, float]:
    bounds = ("0.001", "0.002", "+Inf")
    named = zip(bounds, counts, strict=True)
    return {f'hub_commit_to_socket_seconds_bucket{{le="{bound}"}}': count for bound, count in named}


@pytest.mark.parametrize(
    ("before", "after", "share", "expected"),
    [
        ((0, 0, 0), (100, 100, 100), 0.5, 0.5),
        ((0, 0, 0), (50, 100, 100), 0.75, 1.5),
        ((100, 100, 100), (100, 200, 200), 0.5, 1.5),
        ((0, 0, 0), (10, 10, 100), 0.99, 2.0),
        ((5, 5, 5), (5, 5, 5), 0.5, None),
    ],
    ids=["within the first", "within the second", "only what came since", "past the last bound", "nothing came"],
)
def test_a_percentile_of_what_came_in_between(
    before: tuple[float, ...], after: tuple[float, ...], share: float, expected: float | None
) -> None:
    assert percentile_ms(_histogram(*before), _histogram(*after), share) == expected


def test_a_hub_without_the_histogram_has_no_percentile() -> None:
    assert percentile_ms({}, {"hub_other": 1.0}, 0.5) is None


def test_ratios_are_taken_within_a_round_and_a_round_that_failed_is_left_out() -> None:
    fanout = {
        "hub": {1: _figures("hub", 50.0), 2: _figures("hub", 300.0), 3: _figures("hub", 80.0)},
        "c": {1: _figures("c", 100.0), 3: _figures("c", 100.0)},
    }
    run = Run(Plan(3, 10, 1, 1.0), {}, 700, fanout, [], [])
    assert run.ratio("all_one_per_s", "c") == pytest.approx(0.65)
    assert run.ratio("all_one_per_s", "node") is None
    assert run.median("hub", "all_one_per_s") == 80.0


def test_the_report_says_which_goals_are_met() -> None:
    fanout = {"hub": {1: _figures("hub", 96.0, idle_kb=4.5)}, "c": {1: _figures("c", 100.0)}}
    text = report(Run(Plan(1, 10, 1, 1.0), {"kernel": "6"}, 700, fanout, [], ["Node is missing."]), "bench")
    assert "| one event to all, one at a time, of the C sender | ≥ 0.95 | 0.96 | met |" in text
    assert "| idle connection, KB of the process | ≤ 4 | 4.50 | not met |" in text
    assert "| one event each to one, of Node `ws` with Redis | > 1 | — |  |" in text
    assert "- kernel: 6\n- Node is missing.\n" in text


def test_an_event_is_told_of_as_a_writer_would() -> None:
    reader = hiredis.Reader()
    reader.feed(publish_command("e", 5, _TEMPLATE.event(5, 12)))
    command, topic, payload = reader.gets()
    assert (command, topic) == (b"PUBLISH", b"hub:u:bench:5")
    (event,) = decode_hint(payload).events
    assert (event.seq, event.lane, event.rings) == (12, 2, True)
    assert event.tail.endswith(b'"data":{"id":10000012,"tenant_id":"bench","user_id":5,"title":"id 77"}}')


def test_every_round_has_its_own_order_and_the_same_for_all() -> None:
    rounds = [[bytes([n]) for n in range(50)]] * 2
    order = shuffled(rounds, 4)
    assert sorted(order[:50]) == sorted(order[50:]) == rounds[0]
    assert order[:50] != order[50:]
    assert order == shuffled(rounds, 4)


def test_plots_are_svg_with_every_series_named_and_within_the_frame() -> None:
    plot = ET.fromstring(lines("t", "x", "y", {"a < b": [(1, 2), (1000, 3)], "c": [(1, 200), (1000, 5)]}, log_y=True))
    texts = {element.text for element in plot.iter("{http://www.w3.org/2000/svg}text")}
    assert {"a < b", "c", "1", "10", "1k", "100"} <= texts
    for circle in plot.iter("{http://www.w3.org/2000/svg}circle"):
        assert 80 <= float(circle.get("cx", 0)) <= 590
        assert 50 <= float(circle.get("cy", 0)) <= 360


def test_bars_stand_as_high_as_their_values() -> None:
    plot = ET.fromstring(bars("t", "y", {"to all": {"hub": 100.0, "C": 50.0}}))
    heights = [float(rect.get("height", 0)) for rect in plot.iter("{http://www.w3.org/2000/svg}rect")]
    assert heights[0] == pytest.approx(2 * heights[1], abs=0.2)
