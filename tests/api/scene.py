"""One tenant with a row of every kind, and who looks at them."""

from __future__ import annotations

import itertools
import re
from typing import Any, Final

import asyncpg

from tests.acceptance.rest import ahead, note
from tests.api.whole import Whole
from tests.store.catalog import tenant_tables

OWNER, WATCHER, COLLEAGUE, SUPERVISOR, ADMIN, LEAD = 1, 2, 3, 4, 5, 70
MARK: Final = "Unmistakable"
"""In every text of the first tenant, and in no answer to another."""

INSIDE: Final = (("agent", OWNER), ("agent", WATCHER), ("agent", COLLEAGUE), ("supervisor", SUPERVISOR),
                 ("admin", ADMIN), ("service", None))  # fmt: skip
OUTSIDE: Final = (("agent", OWNER), ("supervisor", SUPERVISOR), ("admin", ADMIN), ("service", None))

PEOPLE: Final = {"owner": OWNER, "watcher": WATCHER, "lead": LEAD}

NAME: Final = re.compile(r"\{([a-z]+)\}")
"""How a path or a body names a row of the scene."""


_SERIALS: Final = itertools.count(1)
"""Names of rows: no two alike, whichever scene made them."""


class Scene:
    """The first tenant, with a row of every kind that is asked for."""

    def __init__(self, hub: Whole, tenant: str, mark: str = MARK) -> None:
        self.tenant, self._mark, self._world = tenant, mark, hub.world
        self._serial = next(_SERIALS)
        self.owner, _, _, self.supervisor, self.admin, self.service = (hub.caller(tenant, *one) for one in INSIDE)

    async def make(self, kinds: set[str]) -> dict[str, Any]:
        """Fresh rows, by kind."""
        self._serial = next(_SERIALS)
        made: dict[str, Any] = {name: PEOPLE[name] for name in kinds & set(PEOPLE)}
        await self.admin.put(f"/users/{OWNER}", {"display_name": self._mark})
        # What others stand on comes first.
        for kind in ("group", "task", *sorted(kinds - set(PEOPLE) - {"group", "task"})):
            made[kind] = await getattr(self, f"_{kind}")(made)
        return made

    async def _group(self, _: Any) -> str:
        name = f"{self._mark}-{self._serial}"
        await self.admin.put(f"/groups/{name}", {"members": [OWNER]})
        return name

    async def _notification(self, _: Any) -> int:
        return (await self.service.post("/notifications", note(user_id=OWNER, title=self._mark)))["id"]

    async def _scheduled(self, _: Any) -> int:
        sent = note(user_id=OWNER, title=self._mark, deliver_at=ahead(days=1))
        return (await self.service.post("/notifications", sent))["id"]

    async def _collapse(self, _: Any) -> str:
        key = f"{self._mark}-{self._serial}"
        await self.service.post("/notifications", note(user_id=OWNER, title=self._mark, collapse_key=key))
        return key

    async def _broadcast(self, _: Any) -> int:
        return (await self.admin.post("/notifications/broadcast", note(title=self._mark)))["broadcast_id"]

    async def _task(self, _: Any) -> int:
        task = await self.supervisor.post("/tasks", {"title": self._mark, "assigned_to": OWNER, "lead_id": LEAD})
        await self.supervisor.post(f"/tasks/{task['id']}/assign", {"user_id": WATCHER, "role": "watcher"})
        return task["id"]

    async def _closed(self, made: Any) -> int:
        task = await self._task(made)
        await self.supervisor.post(f"/tasks/{task}/complete")
        return task

    async def _free(self, made: Any) -> int:
        """Nobody is assigned to it; it is for the group of the owner, and late."""
        said = {"title": self._mark, "group": made["group"], "due_date": "2020-01-01T00:00:00Z"}
        return (await self.supervisor.post("/tasks", said))["id"]

    async def _comment(self, made: Any) -> int:
        said = await self.owner.post(f"/tasks/{made['task']}/comments", {"comment": self._mark})
        return said["id"]

    async def _key(self, _: Any) -> int:
        return (await self.admin.post("/api-keys", {"name": self._mark}))["id"]

    async def _wording(self, _: Any) -> str:
        """The name of one for the app."""
        name = f"{self._mark}-{self._serial}"
        said = {"name": name, "channel": "in_app", "subject": self._mark, "body": self._mark}
        await self.admin.post("/templates", said)
        return name

    async def _template(self, _: Any) -> int:
        said = {"name": f"{self._mark} {self._serial}", "channel": "sms", "body": self._mark}
        return (await self.admin.post("/templates", said))["id"]

    async def _log(self, _: Any) -> int:
        rows = await self._world.sql(
            "INSERT INTO communication_logs (tenant_id, user_id, channel, recipient, body)"
            " VALUES ($1, $2, 'sms', $3, $3) RETURNING id",
            self.tenant,
            OWNER,
            self._mark,
            tenant=self.tenant,
        )
        return rows[0]["id"]

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


async def picture(url: str, tenant: str) -> dict[str, str]:
    """Everything that a tenant has, in brief, by table: what nobody may change is the same afterwards.

    But for streams in which nothing stands yet: one may begin with whoever calls, and says nothing.
    """
    connection = await asyncpg.connect(url)
    try:
        return {
            table: await connection.fetchval(
                f"SELECT md5(coalesce(string_agg(t::text, ',' ORDER BY t::text), '')) FROM {table} t"
                f" WHERE tenant_id = $1{' AND head > 0' if table == 'user_streams' else ''}",
                tenant,
            )
            for table in await tenant_tables(connection)
        }
    finally:
        await connection.close()
