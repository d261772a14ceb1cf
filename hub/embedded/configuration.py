"""The embedded PostgreSQL's settings, each with its reason where it is not the default."""

from __future__ import annotations

from pathlib import Path

from hub.embedded.endpoint import HOST

HBA = f"""\
# Written by the hub at each start.
host all all {HOST}/32 scram-sha-256
"""

_COMMON = """\
# Written by the hub at each start.
listen_addresses = '{host}'
port = {port}
# TCP alone: a data directory may be deeper than the 107 bytes that a socket's path can have.
unix_socket_directories = ''
hba_file = {hba_path}
password_encryption = 'scram-sha-256'
# Several nodes with a pool each, and room for a person with psql.
max_connections = 100
# A machine that runs its own database beside the hub is a small one.
shared_buffers = '128MB'
max_wal_size = '1GB'
timezone = 'UTC'
log_timezone = 'UTC'
# Every query of the hub is short: compiling one, or sharing it among processes, costs more than it saves.
jit = off
max_parallel_workers_per_gather = 0
logging_collector = on
log_directory = {log_dir}
# A week, a file a day, each overwritten when its day comes again.
log_filename = 'postgresql-%a.log'
log_rotation_age = '1d'
log_rotation_size = 0
log_truncate_on_rotation = on
log_checkpoints = off
log_line_prefix = '%m [%p] '
# No content of notifications in a log: neither failing statements nor the rows that they failed with.
log_min_error_statement = panic
log_error_verbosity = terse
"""

# A test's data need not outlive the machine's power. They do outlive a SIGKILL of the server, which tests send:
# that needs synchronous_commit, since without it up to 0.6 s of answered commits are in the dead server's memory.
_NOT_DURABLE = """\
fsync = off
full_page_writes = off
"""


def postgres_configuration(*, port: int, hba_path: Path, log_dir: Path, durable: bool) -> str:
    """The text of `postgresql.conf`."""
    text = _COMMON.format(host=HOST, port=port, hba_path=_quoted(hba_path), log_dir=_quoted(log_dir))
    return text if durable else text + _NOT_DURABLE


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("\\", "\\\\").replace("'", "''") + "'"
