"""One tenant with a row of every kind, and who looks at them."""

from __future__ import annotations

import re
from typing import Any, Final

from tests.acceptance.rest import ahead, note
from tests.api.whole import Whole

OWNER, WATCHER, COLLEAGUE, SUPERVISOR, ADMIN, LEAD = 1, 2, 3, 4, 5, 70
MARK: Final = "Unmistakable"
"""In every text of the first tenant, and in no answer to another."""

INSIDE: Final = (("agent", OWNER), ("agent", WATCHER), ("agent", COLLEAGUE), ("supervisor", SUPERVISOR),
                 ("admin", ADMIN), ("service", None))  # fmt: skip
OUTSIDE: Final = (("agent", OWNER), ("supervisor", SUPERVISOR), ("admin", ADMIN), ("service", None))

PEOPLE: Final = {"owner": OWNER, "watcher": WATCHER, "lead": LEAD}

NAME: Final = re.compile(r"\{([a-z]+)\}")
"""How a path or a body names a row of the scene."""


class Scene:
    """The first tenant, with a row of every kind that is asked for."""

    def __init__(self, hub: Whole, tenant: str) -> None:
        self.tenant = tenant
        self._serial = 0
        self.owner, _, _, self.supervisor, self.admin, self.service = (hub.caller(tenant, *one) for one in INSIDE)

    async def make(self, kinds: set[str]) -> dict[str, Any]:
        """Fresh rows, by kind."""
        self._serial += 1
        made: dict[str, Any] = {name: PEOPLE[name] for name in kinds & set(PEOPLE)}
        await self.admin.put(f"/users/{OWNER}", {"display_name": MARK})
        # What others stand on comes first.
        for kind in ("group", "task", *sorted(kinds - set(PEOPLE) - {"group", "task"})):
            made[kind] = await getattr(self, f"_{kind}")(made)
        return made

    async def _group(self, _: Any) -> str:
        name = f"{MARK}-{self._serial}"
        await self.admin.put(f"/groups/{name}", {"members": [OWNER]})
        return name

    async def _notification(self, _: Any) -> int:
        return (await self.service.post("/notifications", note(user_id=OWNER, title=MARK)))["id"]

    async def _scheduled(self, _: Any) -> int:
        sent = note(user_id=OWNER, title=MARK, deliver_at=ahead(days=1))
        return (await self.service.post("/notifications", sent))["id"]

    async def _collapse(self, _: Any) -> str:
        key = f"{MARK}-{self._serial}"
        await self.service.post("/notifications", note(user_id=OWNER, title=MARK, collapse_key=key))
        return key

    async def _broadcast(self, _: Any) -> int:
        return (await self.admin.post("/notifications/broadcast", note(title=MARK)))["broadcast_id"]

    async def _task(self, _: Any) -> int:
        task = await self.supervisor.post("/tasks", {"title": MARK, "assigned_to": OWNER, "lead_id": LEAD})
        await self.supervisor.post(f"/tasks/{task['id']}/assign", {"user_id": WATCHER, "role": "watcher"})
        return task["id"]

    async def _closed(self, made: Any) -> int:
        task = await self._task(made)
        await self.supervisor.post(f"/tasks/{task}/complete")
        return task

    async def _free(self, made: Any) -> int:
        """Nobody is assigned to it, and it is for the group of the owner."""
        return (await self.supervisor.post("/tasks", {"title": MARK, "group": made["group"]}))["id"]

    async def _comment(self, made: Any) -> int:
        said = await self.owner.post(f"/tasks/{made['task']}/comments", {"comment": MARK})
        return said["id"]

    async def _key(self, _: Any) -> int:
        return (await self.admin.post("/api-keys", {"name": MARK}))["id"]

    async def _browser(self, _: Any) -> int:
        keys = {"p256dh": "B" * 87, "auth": "a" * 22}
        return (await self.owner.post("/push-subscriptions", {"endpoint": "https://push.example/1", "keys": keys}))[
            "id"
        ]


def filled(value: Any, made: dict[str, Any]) -> Any:
    """With rows where they are named; a value that is nothing but a name becomes the id itself."""
    match value:
        case str() if (whole := NAME.fullmatch(value)) is not None:
            return made[whole[1]]
        case str():
            return NAME.sub(lambda name: str(made[name[1]]), value)
        case list():
            return [filled(one, made) for one in value]
        case dict():
            return {name: filled(one, made) for name, one in value.items()}
        case _:
            return value
