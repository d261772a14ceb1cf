"""The Python client that desktops use.

`HubClient` is a person's live stream, whatever becomes of the connection; `Place`
is what to store of it; `hub.client.inbox` keeps the notifications that its events
describe; `HubRest` is the same hub over HTTP.
"""

from hub.client.client import HubClient
from hub.client.errors import CallError, CallLost, HubStopped, NoToken, NotSent, Refused, Unreachable
from hub.client.event import Event, Item, Reset, RingAgain
from hub.client.inbox import InboxState
from hub.client.place import Place
from hub.client.rest import Answer, HubRest
from hub.client.state import State
from hub.client.tuning import Tuning

__all__ = [
    "Answer",
    "CallError",
    "CallLost",
    "Event",
    "HubClient",
    "HubRest",
    "HubStopped",
    "InboxState",
    "Item",
    "NoToken",
    "NotSent",
    "Place",
    "Refused",
    "Reset",
    "RingAgain",
    "State",
    "Tuning",
    "Unreachable",
]
