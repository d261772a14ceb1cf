"""Every declared route of the API."""

from __future__ import annotations

from api.route import Route
from api.routes.broadcasts import BROADCASTS
from api.routes.communications import COMMUNICATIONS
from api.routes.contacts import CONTACTS
from api.routes.credentials import CREDENTIALS
from api.routes.notifications import NOTIFICATIONS
from api.routes.own import OWN
from api.routes.people import PEOPLE_AND_GROUPS
from api.routes.preferences import PREFERENCES
from api.routes.task_people import TASK_PEOPLE
from api.routes.tasks import TASKS
from api.routes.templates import TEMPLATES
from api.routes.tenant import TENANT


def api_routes() -> list[Route]:
    """What `BASE` serves."""
    return [
        *NOTIFICATIONS,
        *OWN,
        *PREFERENCES,
        *CREDENTIALS,
        *PEOPLE_AND_GROUPS,
        *BROADCASTS,
        *CONTACTS,
        *TEMPLATES,
        *COMMUNICATIONS,
        *TENANT,
        *TASKS,
        *TASK_PEOPLE,
    ]
