"""The table of who gets what: every route by every kind of caller. `test_isolation` tries it.

In a row: what each caller is answered. Of one tenant: the agent who owns the row, one who only watches the task, a
colleague who is not on it, a supervisor, an admin, a service; of another tenant, under the same user ids: agent,
supervisor, admin, service; then no token, and a bad one. `{…}` in a path or a body is a row of the first tenant,
made by `Scene`; a word after `#` tells two rows of one route apart, and names its body.

A new route needs its row here, and its body in `BODIES` where it has one.
"""

from __future__ import annotations

import re
from typing import Any, Final

import httpx

from tests.acceptance.rest import ABSENT, BASE, Caller, ahead, note
from tests.api.scene import NAME, filled

TABLE: Final = """
#                                                  own wat col sup adm svc   agt sup adm svc   no  bad
GET    /healthz                                    200 200 200 200 200 200 | 200 200 200 200 | 200 200
GET    /readyz                                     200 200 200 200 200 200 | 200 200 200 200 | 200 200
GET    /metrics                                    403 403 403 403 200 200 | 403 403 200 200 | 401 401
POST   /notifications                              201 403 403 201 201 201 | 201 201 201 201 | 401 401
POST   /notifications#worded                       201 403 403 201 201 201 | 422 422 422 422 | 401 401
POST   /notifications#group                        403 403 403 201 201 201 | 403 422 422 422 | 401 401
GET    /notifications                              200 200 200 200 200 403 | 200 200 200 403 | 401 401
POST   /notifications/bulk                         201 403 403 201 201 201 | 201 201 201 201 | 401 401
POST   /notifications/withdraw                     403 403 403 200 200 200 | 403 200 200 200 | 401 401
POST   /notifications/withdraw#broadcast           403 403 403 200 200 200 | 403 200 200 200 | 401 401
POST   /notifications/cleanup                      403 403 403 403 200 403 | 403 403 200 403 | 401 401
POST   /notifications/explain                      200 403 403 200 200 200 | 200 200 200 200 | 401 401
GET    /notifications/unread                       200 200 200 200 200 403 | 200 200 200 403 | 401 401
GET    /notifications/stats                        200 200 200 200 200 403 | 200 200 200 403 | 401 401
GET    /notifications/stats?user_id={owner}        200 403 403 200 200 403 | 200 200 200 403 | 401 401
GET    /notifications/{notification}               200 404 404 404 404 200 | 404 404 404 404 | 401 401
DELETE /notifications/{notification}               204 404 404 404 404 403 | 404 404 404 403 | 401 401
GET    /notifications/{notification}/delivery      200 404 404 404 404 200 | 404 404 404 404 | 401 401
PUT    /notifications/{notification}/read          200 404 404 404 404 403 | 404 404 404 403 | 401 401
PUT    /notifications/{notification}/unread        200 404 404 404 404 403 | 404 404 404 403 | 401 401
PUT    /notifications/{notification}/archive       200 404 404 404 404 403 | 404 404 404 403 | 401 401
PUT    /notifications/{notification}/unarchive     200 404 404 404 404 403 | 404 404 404 403 | 401 401
PUT    /notifications/{notification}/snooze        200 404 404 404 404 403 | 404 404 404 403 | 401 401
PUT    /notifications/{notification}/unsnooze      200 404 404 404 404 403 | 404 404 404 403 | 401 401
DELETE /notifications/{scheduled}/schedule         204 404 404 404 404 204 | 404 404 404 404 | 401 401
POST   /notifications/actions                      200 404 404 404 404 403 | 404 404 404 403 | 401 401
POST   /notifications/read-all                     200 200 200 200 200 403 | 200 200 200 403 | 401 401
POST   /notifications/read-all#before              200 404 404 404 404 403 | 404 404 404 403 | 401 401
POST   /notifications/seen                         200 200 200 200 200 403 | 200 200 200 403 | 401 401
POST   /notifications/seen#before                  200 404 404 404 404 403 | 404 404 404 403 | 401 401
GET    /notifications/preferences                  200 200 200 200 200 403 | 200 200 200 403 | 401 401
GET    /notifications/preferences?user_id={owner}  200 403 403 403 200 200 | 200 403 200 200 | 401 401
PUT    /notifications/preferences                  200 200 200 200 200 403 | 200 200 200 403 | 401 401
PUT    /notifications/preferences?user_id={owner}  200 403 403 403 200 200 | 200 403 200 200 | 401 401
PATCH  /notifications/preferences                  200 200 200 200 200 403 | 200 200 200 403 | 401 401
PATCH  /notifications/preferences?user_id={owner}  200 403 403 403 200 200 | 200 403 200 200 | 401 401
PUT    /users/{owner}/quiet                        403 403 403 403 200 200 | 403 403 200 200 | 401 401
GET    /api-keys                                   403 403 403 403 200 403 | 403 403 200 403 | 401 401
POST   /api-keys                                   403 403 403 403 201 403 | 403 403 201 403 | 401 401
DELETE /api-keys/{key}                             403 403 403 403 204 403 | 403 403 404 403 | 401 401
POST   /users/{owner}/revoke                       403 403 403 403 200 403 | 403 403 200 403 | 401 401
GET    /users/{owner}                              403 403 403 403 200 200 | 403 403 404 404 | 401 401
PUT    /users/{owner}                              403 403 403 403 200 200 | 403 403 200 200 | 401 401
DELETE /users/{owner}                              403 403 403 403 204 403 | 403 403 204 403 | 401 401
GET    /users/{owner}/export                       403 403 403 403 200 403 | 403 403 200 403 | 401 401
GET    /groups/{group}                             403 403 403 200 200 200 | 403 404 404 404 | 401 401
PUT    /groups/{group}                             403 403 403 403 200 200 | 403 403 200 200 | 401 401
DELETE /groups/{group}                             403 403 403 403 204 204 | 403 403 404 404 | 401 401
GET    /presence                                   403 403 403 200 200 403 | 403 200 200 403 | 401 401
GET    /presence?group={group}                     403 403 403 200 200 403 | 403 404 404 403 | 401 401
POST   /notifications/broadcast                    403 403 403 403 202 403 | 403 403 202 403 | 401 401
POST   /notifications/broadcast#group              403 403 403 403 202 403 | 403 403 422 403 | 401 401
GET    /broadcasts/{broadcast}                     403 403 403 403 200 403 | 403 403 404 403 | 401 401
GET    /broadcasts/{broadcast}?unread=true         403 403 403 403 200 403 | 403 403 404 403 | 401 401
GET    /contacts                                   200 200 200 200 200 403 | 200 200 200 403 | 401 401
PUT    /contacts                                   200 200 200 200 200 403 | 200 200 200 403 | 401 401
GET    /users/{owner}/contacts                     403 403 403 403 200 200 | 403 403 200 200 | 401 401
PUT    /users/{owner}/contacts                     403 403 403 403 200 200 | 403 403 200 200 | 401 401
POST   /push-subscriptions                         201 201 201 201 201 403 | 201 201 201 403 | 401 401
GET    /push-subscriptions                         200 200 200 200 200 403 | 200 200 200 403 | 401 401
DELETE /push-subscriptions/{browser}               204 404 404 404 404 403 | 404 404 404 403 | 401 401
GET    /push-subscriptions/key                     200 200 200 200 200 403 | 200 200 200 403 | 401 401
GET    /settings                                   403 403 403 403 200 403 | 403 403 200 403 | 401 401
PATCH  /settings                                   403 403 403 403 200 403 | 403 403 200 403 | 401 401
GET    /templates                                  403 403 403 403 200 403 | 403 403 200 403 | 401 401
POST   /templates                                  403 403 403 403 201 403 | 403 403 201 403 | 401 401
GET    /templates/{template}                       403 403 403 403 200 403 | 403 403 404 403 | 401 401
PUT    /templates/{template}                       403 403 403 403 200 403 | 403 403 404 403 | 401 401
DELETE /templates/{template}                       403 403 403 403 204 403 | 403 403 404 403 | 401 401
GET    /templates/{template}/versions              403 403 403 403 200 403 | 403 403 404 403 | 401 401
POST   /templates/{template}/preview               403 403 403 403 200 403 | 403 403 404 403 | 401 401
GET    /communication-logs                         403 403 403 403 200 403 | 403 403 200 403 | 401 401
GET    /communication-logs?template_id={template}  403 403 403 403 200 403 | 403 403 200 403 | 401 401
GET    /communication-logs/stats                   403 403 403 403 200 403 | 403 403 200 403 | 401 401
GET    /communication-logs/{log}                   403 403 403 403 200 403 | 403 403 404 403 | 401 401
GET    /audit                                      403 403 403 403 200 403 | 403 403 200 403 | 401 401
GET    /audit?actor_id={owner}                     403 403 403 403 200 403 | 403 403 200 403 | 401 401
POST   /tasks                                      201 201 201 201 201 201 | 201 201 201 201 | 401 401
POST   /tasks#below                                201 201 422 201 201 201 | 422 422 422 422 | 401 401
GET    /tasks                                      200 200 200 200 200 403 | 200 200 200 403 | 401 401
GET    /tasks?group={group}                        200 200 200 200 200 403 | 200 200 200 403 | 401 401
GET    /tasks?lead_id={lead}                       200 200 200 200 200 403 | 200 200 200 403 | 401 401
GET    /tasks?assigned_to={owner}                  200 403 403 200 200 403 | 200 200 200 403 | 401 401
POST   /tasks/bulk                                 201 201 201 201 201 201 | 201 201 201 201 | 401 401
POST   /tasks/bulk#patch                           200 403 404 200 200 403 | 404 404 404 403 | 401 401
GET    /tasks/lead/{lead}                          200 200 200 200 200 403 | 200 200 200 403 | 401 401
GET    /tasks/overdue                              200 200 200 200 200 403 | 200 200 200 403 | 401 401
GET    /tasks/stats                                200 200 200 200 200 403 | 200 200 200 403 | 401 401
GET    /tasks/stats?user_id={owner}                200 403 403 200 200 403 | 200 200 200 403 | 401 401
GET    /tasks/{task}                               200 200 404 200 200 403 | 404 404 404 403 | 401 401
GET    /tasks/{free}                               200 404 404 200 200 403 | 404 404 404 403 | 401 401
PUT    /tasks/{task}                               200 403 404 200 200 403 | 404 404 404 403 | 401 401
PATCH  /tasks/{task}                               200 403 404 200 200 403 | 404 404 404 403 | 401 401
DELETE /tasks/{task}                               403 403 404 204 204 403 | 404 404 404 403 | 401 401
GET    /tasks/{task}/subtasks                      200 200 404 200 200 403 | 404 404 404 403 | 401 401
POST   /tasks/{task}/start                         200 403 404 200 200 403 | 404 404 404 403 | 401 401
POST   /tasks/{task}/complete                      200 403 404 200 200 403 | 404 404 404 403 | 401 401
POST   /tasks/{task}/cancel                        200 403 404 200 200 403 | 404 404 404 403 | 401 401
POST   /tasks/{closed}/reopen                      200 403 404 200 200 403 | 404 404 404 403 | 401 401
POST   /tasks/{free}/claim                         200 404 404 200 200 403 | 404 404 404 403 | 401 401
POST   /tasks/{task}/comments                      201 201 404 201 201 403 | 404 404 404 403 | 401 401
GET    /tasks/{task}/comments                      200 200 404 200 200 403 | 404 404 404 403 | 401 401
PUT    /tasks/{task}/comments/{comment}            200 403 404 403 403 403 | 404 404 404 403 | 401 401
DELETE /tasks/{task}/comments/{comment}            204 403 404 204 204 403 | 404 404 404 403 | 401 401
POST   /tasks/{task}/assign                        201 403 404 201 201 403 | 404 404 404 403 | 401 401
GET    /tasks/{task}/assignments                   200 200 404 200 200 403 | 404 404 404 403 | 401 401
DELETE /tasks/{task}/assign/{watcher}              204 204 404 204 204 403 | 404 404 404 403 | 401 401
POST   /tasks/{task}/assign/accept                 200 200 404 403 403 403 | 404 404 404 403 | 401 401
POST   /tasks/{task}/assign/decline                200 200 404 403 403 403 | 404 404 404 403 | 401 401
POST   /tasks/{task}/assign/complete               200 200 404 403 403 403 | 404 404 404 403 | 401 401
GET    /tasks/{task}/history                       200 200 404 200 200 403 | 404 404 404 403 | 401 401
"""

BODIES: Final[dict[str, Any]] = {
    "POST /notifications": note(user_id="{owner}"),
    "POST /notifications#group": note(group="{group}"),
    "POST /notifications/bulk": {"items": [note(user_id="{owner}")]},
    "POST /notifications/withdraw": {"collapse_key": "{collapse}"},
    "POST /notifications/withdraw#broadcast": {"broadcast_id": "{broadcast}"},
    "POST /notifications/cleanup": {"days": 1},
    "POST /notifications/explain": {"user_id": "{owner}"},
    "PUT /notifications/{notification}/snooze": {"until": ahead(hours=1)},
    "POST /notifications/actions": {"ids": ["{notification}"], "action": "delete"},
    "POST /notifications/read-all#before": {"before": "{notification}"},
    "POST /notifications/seen#before": {"before": "{notification}"},
    "PUT /notifications/preferences": {},
    "PUT /notifications/preferences?user_id={owner}": {},
    "PATCH /notifications/preferences": {},
    "PATCH /notifications/preferences?user_id={owner}": {"timezone": "Asia/Kolkata"},
    "PUT /users/{owner}/quiet": {"quiet_until": None},
    "POST /api-keys": {"name": "dialler"},
    "PUT /users/{owner}": {"display_name": "Ana"},
    "PUT /groups/{group}": {"members": [9]},
    "POST /notifications/broadcast": note(),
    "POST /notifications/broadcast#group": note(group="{group}"),
    "PUT /contacts": {"email": "ana@example.org"},
    "PUT /users/{owner}/contacts": {"email": "ana@example.org"},
    "POST /push-subscriptions": {"endpoint": "https://push.example/2", "keys": {"p256dh": "B" * 87, "auth": "a" * 22}},
    "POST /notifications#worded": {"type": "system", "user_id": "{owner}", "template": "{wording}"},
    "POST /templates": {"name": "a", "channel": "sms", "body": "Well"},
    "PUT /templates/{template}": {"name": "a", "channel": "sms", "body": "Well"},
    "POST /templates/{template}/preview": {"variables": {}},
    "PATCH /settings": {"reminder_minutes": 5},
    "POST /tasks": {"title": "A task"},
    "POST /tasks#below": {"title": "A task", "parent_task_id": "{task}"},
    "POST /tasks/bulk": {"items": [{"title": "A task"}]},
    "POST /tasks/bulk#patch": {"items": [{"id": "{task}", "title": "Another"}]},
    "PUT /tasks/{task}": {"title": "Another"},
    "PATCH /tasks/{task}": {"title": "Another"},
    "POST /tasks/{task}/comments": {"comment": "Well"},
    "PUT /tasks/{task}/comments/{comment}": {"comment": "Well"},
    "POST /tasks/{task}/assign": {"user_id": 9},
}  # fmt: skip


class Row:
    """One line of the table."""

    def __init__(self, line: str) -> None:
        self.method, self.path, *statuses = line.replace("|", " ").split()
        self.inside = [int(one) for one in statuses[:6]]
        self.outside = [int(one) for one in statuses[6:10]]
        self.unknown = [int(one) for one in statuses[10:]]
        self.name = f"{self.method} {self.path}"
        self.body = BODIES.get(self.name, ABSENT)
        self.path, _, _ = self.path.partition("#")

    @property
    def route(self) -> str:
        path = self.path.partition("?")[0]
        base = "" if path in ("/healthz", "/readyz", "/metrics") else BASE
        return f"{self.method} {base}{shape(path)}"

    @property
    def kinds(self) -> set[str]:
        """What it names."""
        return set(NAME.findall(f"{self.path} {self.body}"))


def shape(path: str) -> str:
    return re.sub(r"\{\w+\}", "{}", path)


ROWS: Final = [Row(line) for line in TABLE.strip().splitlines() if not line.startswith("#")]


async def ask(row: Row, caller: Caller, made: dict[str, Any]) -> httpx.Response:
    body = ABSENT if row.body is ABSENT else filled(row.body, made)
    return await caller(row.method, filled(row.path, made), body)
