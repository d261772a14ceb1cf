"""The schema as numbered SQL: `0001_pre_roles.sql`, `0002_pre_…`; nothing but files.

Each is one transaction, forward only, and never changed once released: its
checksum is recorded. `pre` is safe before the new code serves, `post` only after
no old node is left. `hub.store.migrations` runs them.
"""
