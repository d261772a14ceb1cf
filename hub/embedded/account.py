"""Whose processes the embedded servers are.

PostgreSQL refuses to run as root. Where the hub is root its servers run as an
unprivileged account that the machine already has: none is created, and no
directory above the data directory is opened to others.
"""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

import msgspec

from hub.embedded.errors import DataDirectoryRefused

# In this order; every Unix has the second.
_ACCOUNTS = ("postgres", "nobody")


class Account(msgspec.Struct, frozen=True):
    """Who runs the servers, and owns what they write."""

    uid: int
    gid: int

    @property
    def is_self(self) -> bool:
        """True where no change of user is needed."""
        return self.uid == os.geteuid()

    def own(self, path: Path) -> None:
        """Hand a file or an empty directory to the account."""
        if not self.is_self:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def may_reach(self, path: Path) -> bool:
        """Whether the account can pass through `path` and every directory above it, by mode bits; a file: run it."""
        path = path.resolve()
        last = stat.S_IXOTH if path.is_dir() else stat.S_IROTH | stat.S_IXOTH
        needs = [(path, last), *((above, stat.S_IXOTH) for above in path.parents)]
        return self.is_self or all(self._has(each, bits) for each, bits in needs)

    def _has(self, path: Path, bits: int) -> bool:
        found = path.stat()
        if found.st_uid == self.uid:
            bits <<= 6
        elif found.st_gid == self.gid:
            bits <<= 3
        return found.st_mode & bits == bits


def choose_account(cluster_dir: Path) -> Account:
    """The account for the servers of a data directory; an existing `cluster_dir` keeps its owner.

    Raises: `DataDirectoryRefused` where the cluster belongs to somebody whom this process cannot become.
    """
    owner = cluster_dir.stat() if cluster_dir.exists() else None
    if os.geteuid() != 0:
        if owner is not None and owner.st_uid != os.geteuid():
            raise DataDirectoryRefused(
                f"{cluster_dir} belongs to the user {_name(owner.st_uid)} (was the hub run as root before?): "
                "run the hub as that user or as root, or give another --data-dir"
            )
        return Account(uid=os.geteuid(), gid=os.getegid())
    if owner is not None and owner.st_uid != 0:
        return Account(uid=owner.st_uid, gid=owner.st_gid)
    for name in _ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(uid=entry.pw_uid, gid=entry.pw_gid)
    raise DataDirectoryRefused(
        "PostgreSQL does not run as root and this machine has no user postgres or nobody: "
        "run the hub as another user, or give --database-url"
    )


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
