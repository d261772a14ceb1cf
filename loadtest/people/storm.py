"""A reconnect storm: every device loses the network at the same instant, and all come back by their cursors.

What was committed meanwhile must arrive: a device whose place does not fit what it is sent is a failure.
"""

from __future__ import annotations

import random
import time

import gevent
from locust import constant, task

from loadtest.people import producers
from loadtest.people.crowd import Connected

CUT_EVERY_S = 15.0
AWAY_S = 2.0
"""All come back within this of each other, as clients that heed `retry_after_ms` do."""


class StormAgent(Connected):
    """Connected, until the whole office is cut off again."""

    weight = 20
    wait_time = constant(0)

    @task
    def lose_the_network(self) -> None:
        # By the wall clock, so that every process of a distributed run cuts at the same time.
        gevent.sleep(CUT_EVERY_S - time.time() % CUT_EVERY_S)
        self.device.cut()
        gevent.sleep(random.uniform(0, AWAY_S))
        self.device.connect()
        gevent.sleep(1)
        self.device.ack()


class StormProducer(producers.Producer):
    """Goes on while all are away."""

    weight = 1
