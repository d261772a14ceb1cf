"""People at a browser: a page that loads over REST, goes live by a token in the hello, and is read and clicked in."""

from __future__ import annotations

import random

from locust import between, task

from loadtest.people.crowd import Connected

_RELOAD_SHARE = 0.05
"""Of all looks, those that begin with a reload of the page."""


class BrowserPerson(Connected):
    """Looks every few seconds, opens the list, reads one, sometimes works on a task, sometimes reloads."""

    token_in_hello = True
    wait_time = between(3, 12)

    def on_start(self) -> None:
        super().on_start()
        self.load_page()

    def load_page(self) -> None:
        """What the page asks when it opens."""
        self.ask("GET", "/notifications?limit=50", "/notifications")
        self.ask("GET", "/notifications/stats")
        self.ask("GET", "/tasks?limit=50", "/tasks")
        self.ask("GET", "/notifications/preferences")

    @task(6)
    def look(self) -> None:
        """Open the bell: all that is there is seen now."""
        self.come_back()
        if random.random() < _RELOAD_SHARE:
            self.device.cut()
            self.device.connect()
            self.load_page()
        self.device.focus(focused=True)
        self.device.ack()
        self.device.call("notifications.seen")

    @task(4)
    def read_one(self) -> None:
        self.come_back()
        if self.device.unread:
            self.ask("PUT", f"/notifications/{self.device.unread.pop()}/read", "/notifications/{id}/read")

    @task(2)
    def search(self) -> None:
        self.ask("GET", "/notifications?q=lead&limit=20", "/notifications?q=")

    @task(1)
    def work_on_a_task(self) -> None:
        """Write one down, begin it, finish it."""
        made = self.ask(
            "POST", "/tasks", json={"title": "Call Mrs. Byron back", "assigned_to": self.user_id, "priority": "high"}
        )
        if made is not None:
            self.ask("POST", f"/tasks/{made['id']}/start", "/tasks/{id}/start")
            self.ask("POST", f"/tasks/{made['id']}/complete", "/tasks/{id}/complete")

    @task(1)
    def look_away(self) -> None:
        self.device.focus(focused=False)
