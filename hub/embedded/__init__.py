"""The embedded PostgreSQL and Valkey: what one runs where no URL is given."""

from hub.embedded.errors import DataDirectoryInUse, DataDirectoryRefused, EmbeddedError, PackageMissing, ServerFailed
from hub.embedded.services import EmbeddedServices, EmbeddedStatistics, EmbeddedUrls

__all__ = [
    "DataDirectoryInUse",
    "DataDirectoryRefused",
    "EmbeddedError",
    "EmbeddedServices",
    "EmbeddedStatistics",
    "EmbeddedUrls",
    "PackageMissing",
    "ServerFailed",
]
