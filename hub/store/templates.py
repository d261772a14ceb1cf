"""Templates as they are kept: one a name, channel and locale, with every version that it has had."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from hub.core.notification import Channel
from hub.store.pool import Tx
from hub.store.sql import like, queries

_SQL: Final = queries("templates")


class Wording(msgspec.Struct, kw_only=True):
    """What an admin writes. `variables` are the names that `subject` and `body` may use; `type` is free."""

    name: str
    type: str | None = None
    locale: str = "en"
    channel: Channel
    subject: str | None = None
    body: str
    variables: list[str] = msgspec.field(default_factory=list[str])
    is_active: bool = True


class Template(Wording, kw_only=True):
    """A template as it is kept. `version` counts up with each change of what it says."""

    id: int
    tenant_id: str
    version: int
    usage_count: int
    last_used_at: datetime | None
    created_by: int | None
    created_at: datetime
    updated_at: datetime


class Version(msgspec.Struct, kw_only=True):
    """What a template said from `created_at` on, until its next version."""

    version: int
    subject: str | None
    body: str
    variables: list[str]
    created_by: int | None
    created_at: datetime


class Asked(msgspec.Struct, kw_only=True, frozen=True):
    """What the list is asked for; None asks nothing. `text` is looked for in names and subjects.

    `after` is (name, channel, locale) of the last one of the page before.
    """

    name: str | None = None
    channels: Sequence[Channel] | None = None
    type: str | None = None
    locale: str | None = None
    is_active: bool | None = None
    text: str | None = None
    after: tuple[str, str, str] | None = None
    limit: int = 50
    offset: int = 0


_template: Final = msgspec.json.Decoder(Template).decode
_version: Final = msgspec.json.Decoder(Version).decode


async def insert_template(tx: Tx, tenant_id: str, wording: Wording, created_by: int | None) -> Template | None:
    """Keep a new one, and its first version. None where there is one of that name, channel and locale."""
    text = await tx.fetchval(_SQL["insert_template"], tenant_id, *_columns(wording), created_by)
    if text is None:
        return None
    template = _template(text)
    await _insert_version(tx, template, created_by)
    return template


async def update_template(tx: Tx, before: Template, wording: Wording, changed_by: int | None) -> Template:
    """Replace one that is locked, as a new version where it says something else."""
    is_new_version = (before.subject, before.body, before.variables) != (
        wording.subject,
        wording.body,
        wording.variables,
    )
    version = before.version + is_new_version
    text = await tx.fetchval(_SQL["update_template"], before.tenant_id, before.id, *_columns(wording), version)
    template = _template(text)
    if is_new_version:
        await _insert_version(tx, template, changed_by)
    return template


async def _insert_version(tx: Tx, template: Template, created_by: int | None) -> None:
    await tx.execute(
        _SQL["insert_version"],
        template.tenant_id,
        template.id,
        template.version,
        template.subject,
        template.body,
        template.variables,
        created_by,
    )


async def has_twin(tx: Tx, tenant_id: str, wording: Wording, template_id: int) -> bool:
    """True where another one has this name, channel and locale."""
    values = (wording.name, wording.channel, wording.locale, template_id)
    return await tx.fetchval(_SQL["find_twin"], tenant_id, *values) is not None


async def lock_template(tx: Tx, tenant_id: str, template_id: int) -> Template | None:
    """One, to be changed."""
    return _found(await tx.fetchval(_SQL["lock_template"], tenant_id, template_id))


async def read_template(tx: Tx, tenant_id: str, template_id: int) -> Template | None:
    return _found(await tx.fetchval(_SQL["read_template"], tenant_id, template_id))


async def delete_template(tx: Tx, tenant_id: str, template_id: int) -> bool:
    """False where there is none. What was sent with it stays in the log."""
    return await tx.fetchval(_SQL["delete_template"], tenant_id, template_id) is not None


async def read_versions(tx: Tx, tenant_id: str, template_id: int, count_max: int) -> list[Version]:
    """The newest first."""
    return [_version(row[0]) for row in await tx.fetch(_SQL["read_versions"], tenant_id, template_id, count_max)]


async def read_templates(tx: Tx, tenant_id: str, asked: Asked) -> list[Template]:
    """One page, by name, channel and locale."""
    after = asked.after or (None, None, None)
    rows = await tx.fetch(_SQL["read_templates"], tenant_id, *_filters(asked), *after, asked.limit, asked.offset)
    return [_template(row[0]) for row in rows]


async def count_templates(tx: Tx, tenant_id: str, asked: Asked) -> int:
    """How many there are on all pages."""
    return await tx.fetchval(_SQL["count_templates"], tenant_id, *_filters(asked))


async def read_wordings(
    tx: Tx, tenant_id: str, names: Collection[str], channels: Collection[Channel]
) -> list[Template]:
    """Every active one of these names, for these channels, in every locale."""
    rows = await tx.fetch(_SQL["read_wordings"], tenant_id, list(names), list(channels))
    return [_template(row[0]) for row in rows]


async def read_locales(tx: Tx, tenant_id: str, user_ids: Collection[int]) -> tuple[dict[int, str | None], str | None]:
    """What each of these users reads, None where nobody has said; and what the tenant uses."""
    rows = await tx.fetch(_SQL["read_locales"], tenant_id, list(user_ids))
    usual = await tx.fetchval(_SQL["read_usual_locale"], tenant_id)
    return {row["user_id"]: row["locale"] for row in rows}, usual


async def mark_used(tx: Tx, tenant_id: str, counts: Mapping[int, int]) -> None:
    """Count the texts that were made, by template."""
    await tx.execute(_SQL["mark_used"], tenant_id, list(counts), list(counts.values()))


def _found(text: str | None) -> Template | None:
    return None if text is None else _template(text)


def _columns(wording: Wording) -> tuple[Any, ...]:
    return (
        wording.name,
        wording.type,
        wording.locale,
        wording.channel,
        wording.subject,
        wording.body,
        wording.variables,
        wording.is_active,
    )


def _filters(asked: Asked) -> tuple[Any, ...]:
    return (
        asked.name,
        None if asked.channels is None else list(asked.channels),
        asked.type,
        asked.locale,
        asked.is_active,
        None if asked.text is None else like(asked.text),
    )
