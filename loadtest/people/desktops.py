"""Desktop agents: connected all day by a token in the handshake, acting by calls over the socket."""

from __future__ import annotations

from locust import between, task

from loadtest.people.crowd import Connected


class DesktopAgent(Connected):
    """Acks what comes, reads most of it a little later, and now and then clears the list."""

    wait_time = between(2, 8)

    @task(10)
    def ack(self) -> None:
        self.come_back()
        self.device.ack()

    @task(5)
    def read_one(self) -> None:
        if self.device.unread:
            self.device.call("notifications.read", id=self.device.unread.pop())

    @task(1)
    def read_all(self) -> None:
        self.device.call("notifications.read_all")
        self.device.unread = []

    @task(1)
    def come_to_the_front(self) -> None:
        self.device.focus(focused=True)
