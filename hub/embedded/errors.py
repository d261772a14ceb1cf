"""What goes wrong with embedded servers, each as one sentence for the person at the terminal."""

from __future__ import annotations


class EmbeddedError(Exception):
    """An embedded server cannot be had. The message is one sentence that says what to do about it."""


class PackageMissing(EmbeddedError):
    """The package that carries the server's binaries is not installed, or has none for this machine."""


class DataDirectoryInUse(EmbeddedError):
    """Another hub runs its servers in this data directory."""


class DataDirectoryRefused(EmbeddedError):
    """This process, or the account that its servers run as, cannot use the data directory."""


class ServerFailed(EmbeddedError):
    """A server did not start; the message carries the last words of its log."""
