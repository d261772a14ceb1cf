"""The few steps between a fork and a server, run as a script of its own.

A child of the hub must not outlive a hub that is killed, and PostgreSQL refuses
to run as root. Both are properties that a process can only give itself before
it becomes the server. Doing that here, and not in a `preexec_fn`, keeps the
hub's own fork free of Python code, which deadlocks where threads hold locks.

    launch.py PARENT_PID DEATH_SIGNAL ACCOUNT SEARCH PROGRAM [ARGUMENT ...]

ACCOUNT is `uid:gid`, or `-` to stay who one is. SEARCH is 1 where that account
could not reach its files otherwise: it then keeps one capability of root's, to
read and to pass through directories. DEATH_SIGNAL 0 means to live on.

It imports the standard library only, and nothing of the hub.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable

# From <linux/prctl.h> and <linux/capability.h>.
_PR_SET_PDEATHSIG = 1
_PR_SET_KEEPCAPS = 8
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAP_VERSION_3 = 0x20080522
# The weaker one first: reading everything is less than writing everything. Containers often keep only the second.
_CAP_DAC_READ_SEARCH = 2
_CAP_DAC_OVERRIDE = 1

IS_LINUX = sys.platform == "linux"


def _call(name: str) -> Callable[..., int]:
    return getattr(ctypes.CDLL(None, use_errno=True), name)


def _checked(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _capabilities(value: int | None = None) -> int:
    """The permitted capabilities as bits; with a value, become exactly these."""
    header = (ctypes.c_uint32 * 2)(_CAP_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)()
    if value is not None:
        data[0] = data[1] = data[2] = value
        _checked(_call("capset")(header, data))
        return value
    _checked(_call("capget")(header, data))
    return int(data[1])


def _become(uid: int, gid: int, *, search: bool) -> None:
    kept = 0
    if search and IS_LINUX:
        permitted = _capabilities()
        kept = next((1 << cap for cap in (_CAP_DAC_READ_SEARCH, _CAP_DAC_OVERRIDE) if permitted & (1 << cap)), 0)
        _checked(_call("prctl")(_PR_SET_KEEPCAPS, 1, 0, 0, 0))
    os.setgroups([gid])
    os.setgid(gid)
    os.setuid(uid)
    if kept:
        _capabilities(kept)
        _checked(_call("prctl")(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, kept.bit_length() - 1, 0, 0))


def main(arguments: list[str]) -> None:
    """Become the program. Exits where the parent has gone already."""
    parent, death_signal, account, search, *command = arguments
    os.umask(0o077)
    if account != "-":
        uid, gid = account.split(":")
        _become(int(uid), int(gid), search=search == "1")
    if death_signal != "0":
        # After the change of user, which clears it.
        if IS_LINUX:
            _checked(_call("prctl")(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0))
        if os.getppid() != int(parent):
            raise SystemExit("the hub that started this server is gone")
    os.execv(command[0], command)  # noqa: S606 - to become the server is the point


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except OSError as refusal:
        raise SystemExit(f"FATAL: could not become the server: {refusal}") from None
