"""`python -m tests.fuzz`: the long run, by each role, against a hub of its own; ends with 1 where anything is found."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hub import clock
from hub.embedded import EmbeddedServices
from hub.store.migrations import migrate
from tests.acceptance.processes import Node
from tests.conftest import fast_directory
from tests.fuzz.schemathesis_run import ALL_PHASES, WHO, Run, fuzz, new_tenant


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--examples", type=int, default=200, help="of each operation and phase (200)")
    parser.add_argument("--seed", type=int, default=1, help="repeats a run (1)")
    parser.add_argument("--phases", default=ALL_PHASES, help=f"of {ALL_PHASES} (all)")
    parser.add_argument("--role", choices=[role for role, _ in WHO], help="only this one")
    return asyncio.run(_run(parser.parse_args(arguments)))


async def _run(asked: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="hub-fuzz-", dir=fast_directory()) as directory:
        services = EmbeddedServices(Path(directory), durable=False)
        urls = await services.start()
        try:
            await migrate(str(urls.database_url))
            with Node(str(urls.database_url), str(urls.redis_url), Path(directory)).running() as node:
                await node.ready()
                return await asyncio.to_thread(_all, node, asked)
        finally:
            await services.stop()


def _all(node: Node, asked: argparse.Namespace) -> int:
    tenant, failed = new_tenant(), 0
    for role, user in WHO:
        if asked.role not in (None, role):
            continue
        began = clock.monotonic()
        run = fuzz(node.url, role, user, tenant=tenant, examples=asked.examples, seed=asked.seed, phases=asked.phases)
        failed += run.code != 0
        _say(run, clock.monotonic() - began)
    faults = [line for line in node.log.read_text().splitlines() if "Traceback" in line or " ERROR " in line]
    print("\n".join(faults[:20]))
    return 1 if failed or faults else 0


def _say(run: Run, seconds: float) -> None:
    if run.code:
        print(run.report)
    print(f"{run.role}: {run.cases} cases in {seconds:.0f} s, {'FAILED' if run.code else 'nothing found'}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
