"""An office: browsers, desktops and producers together, in about the shares of a call centre."""

from __future__ import annotations

# Modules, not classes: Locust runs every class that it finds by a name of this file.
from loadtest.people import browsers, desktops, producers


class OfficeBrowser(browsers.BrowserPerson):
    weight = 6


class OfficeDesktop(desktops.DesktopAgent):
    weight = 12


class OfficeProducer(producers.Producer):
    weight = 1
