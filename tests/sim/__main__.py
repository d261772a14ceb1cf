"""Run many histories: `python -m tests.sim --seeds 10000`; prints how often each rare state was reached."""

from __future__ import annotations

import argparse
import time
from collections import Counter

from tests.sim.mutations import MUTATIONS, caught_by
from tests.sim.world import Broken, World


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--mutations", action="store_true", help="show which seed catches each mutation")
    options = parser.parse_args()
    started = time.monotonic()
    seen: Counter[str] = Counter()
    for seed in range(options.first, options.first + options.seeds):
        try:
            seen += World(seed).run().seen
        except Broken as exc:
            print(f"seed {seed}: {exc}")
            return 1
    print(f"{options.seeds} histories in {time.monotonic() - started:.0f} s: nothing lost, nothing twice, order kept")
    for state, count in sorted(seen.items()):
        print(f"  {count:>10,}  {state}")
    if options.mutations:
        for name in MUTATIONS:
            seeds, words = caught_by(name, range(options.first, options.first + 500))
            print(f"  {name}: caught after {seeds} histories: {words}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
