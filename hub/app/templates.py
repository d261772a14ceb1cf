"""Templates: what admins write, kept with every version, and tried before anyone gets it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec

from hub.app.caller import Caller
from hub.app.deps import Deps
from hub.app.directory import require
from hub.app.errors import Conflict, Invalid, NotFound, PreconditionFailed, Violation
from hub.app.unit import Outcome, Unit, perform
from hub.store import templates
from hub.store.templates import Asked, Template, Version, Wording
from hub.templates.render import BadTemplate, MissingVariables, Unrenderable, render, used_variables

SUBJECT_BYTES_MAX: Final = 2_000
"""A line of a mail header may have 998 characters (RFC 5322, 2.1.1); no subject that is read is longer."""
BODY_BYTES_MAX: Final = 256 * 1024
"""Mail clients cut what is longer than some 100 KiB."""
VERSIONS_MAX: Final = 200
"""Versions in one answer, the newest; all are kept."""

_LINE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""What ends a line, or does worse: a subject becomes a header."""


class Preview(msgspec.Struct):
    """What a message would say. `body` is HTML for e-mail, else plain text."""

    subject: str | None
    body: str


class TemplatePage(msgspec.Struct):
    """One page, by name, channel and locale. `total` only where it was asked for."""

    items: list[Template]
    total: int | None


async def create_template(deps: Deps, caller: Caller, wording: Wording) -> Outcome[Template]:
    """Keep a new template.

    Raises:
        Forbidden: for an admin only.
        Invalid: it is no template, or uses what it does not declare.
        Conflict: there is one of that name for the channel and locale.
    """
    require(caller, ("admin",))
    await _check(wording)

    async def work(unit: Unit) -> Template:
        made = await templates.insert_template(unit.tx, unit.tenant_id, wording, caller.principal.user_id)
        if made is None:
            raise _twin(wording)
        unit.audit("template.create", "template", made.id, channel=made.channel, locale=made.locale)
        return made

    return await perform(deps, caller, work)


async def replace_template(
    deps: Deps, caller: Caller, template_id: int, wording: Wording, versions: Collection[int] | None
) -> Outcome[Template]:
    """Replace one; what it said before stays among its versions. `versions`: those it may have, None = any.

    Raises:
        Forbidden, NotFound, Invalid, Conflict: as `create_template`.
        PreconditionFailed: it has another version.
    """
    require(caller, ("admin",))
    await _check(wording)

    async def work(unit: Unit) -> Template:
        before = _found(await templates.lock_template(unit.tx, unit.tenant_id, template_id))
        _match(before, versions)
        if await templates.has_twin(unit.tx, unit.tenant_id, wording, template_id):
            raise _twin(wording)
        after = await templates.update_template(unit.tx, before, wording, caller.principal.user_id)
        fields = [name for name in Wording.__struct_fields__ if getattr(before, name) != getattr(after, name)]
        unit.audit("template.update", "template", template_id, fields=fields, version=after.version)
        return after

    return await perform(deps, caller, work)


async def delete_template(
    deps: Deps, caller: Caller, template_id: int, versions: Collection[int] | None
) -> Outcome[None]:
    """Delete one and its versions. What was sent with it stays in the log. Raises as `replace_template`."""
    require(caller, ("admin",))

    async def work(unit: Unit) -> None:
        before = _found(await templates.lock_template(unit.tx, unit.tenant_id, template_id))
        _match(before, versions)
        await templates.delete_template(unit.tx, unit.tenant_id, template_id)
        unit.audit("template.delete", "template", template_id, version=before.version)

    return await perform(deps, caller, work)


async def read_template(deps: Deps, caller: Caller, template_id: int) -> Template:
    """Raises `Forbidden` but for an admin, `NotFound`."""
    require(caller, ("admin",))
    async with deps.database.transaction(caller.tenant_id) as tx:
        return _found(await templates.read_template(tx, caller.tenant_id, template_id))


async def read_versions(deps: Deps, caller: Caller, template_id: int) -> list[Version]:
    """What one has said, the newest first. Raises `Forbidden` but for an admin, `NotFound`."""
    require(caller, ("admin",))
    async with deps.database.transaction(caller.tenant_id) as tx:
        _found(await templates.read_template(tx, caller.tenant_id, template_id))
        return await templates.read_versions(tx, caller.tenant_id, template_id, VERSIONS_MAX)


async def list_templates(deps: Deps, caller: Caller, asked: Asked, *, with_total: bool) -> TemplatePage:
    """Raises `Forbidden` but for an admin."""
    require(caller, ("admin",))
    async with deps.database.transaction(caller.tenant_id) as tx:
        items = await templates.read_templates(tx, caller.tenant_id, asked)
        total = await templates.count_templates(tx, caller.tenant_id, asked) if with_total else None
    return TemplatePage(items, total)


async def preview(deps: Deps, caller: Caller, template_id: int, variables: Mapping[str, Any]) -> Preview:
    """What a message with these variables would say. Nothing is sent, nothing counted.

    Raises:
        Forbidden, NotFound
        Invalid: naming each variable that is missing, or why it makes no text.
    """
    template = await read_template(deps, caller, template_id)
    return await say(template, variables, "$.variables")


async def say(template: Wording, variables: Mapping[str, Any], path: str) -> Preview:
    """The text that a template makes of variables, which came under `path`.

    In a thread: the work is bounded, not small.

    Raises:
        Invalid: naming each variable that is missing, or why it makes no text.
    """
    try:
        made = await asyncio.to_thread(_say, template, variables)
    except MissingVariables as missing:
        raise Invalid([(f"{path}.{name}", "Is missing: the template uses it.") for name in missing.names]) from None
    except (Unrenderable, BadTemplate) as error:
        raise Invalid([(path, f"The template makes no text of these: {error}.")]) from None
    if made.subject is not None and _LINE.search(made.subject):
        raise Invalid([(path, "They would break the subject into lines, or put a control character into it.")])
    return made


def _say(template: Wording, variables: Mapping[str, Any]) -> Preview:
    subject = template.subject
    if subject is not None:
        subject = render(subject, variables, html=False, bytes_max=SUBJECT_BYTES_MAX)
    return Preview(
        subject, render(template.body, variables, html=template.channel == "email", bytes_max=BODY_BYTES_MAX)
    )


async def _check(wording: Wording) -> None:
    violations = await asyncio.to_thread(_faults_of, wording)
    if violations:
        raise Invalid(violations)


def _faults_of(wording: Wording) -> list[Violation]:
    """Why it cannot be kept, all of it."""
    violations: list[Violation] = []
    declared = set(wording.variables)
    for field, source in (("subject", wording.subject), ("body", wording.body)):
        try:
            undeclared = used_variables(source or "") - declared
        except BadTemplate as error:
            violations.append((f"$.{field}", f"Is no template: {error}."))
            continue
        if undeclared:
            names = ", ".join(sorted(undeclared))
            violations.append((f"$.{field}", f"Uses variables that `variables` does not declare: {names}."))
    return violations


def _match(template: Template, versions: Collection[int] | None) -> None:
    if versions is not None and template.version not in versions:
        raise PreconditionFailed


def _found(template: Template | None) -> Template:
    if template is None:
        raise NotFound("There is no such template.")
    return template


def _twin(wording: Wording) -> Conflict:
    return Conflict(
        f"There is a template `{wording.name}` for {wording.channel} in `{wording.locale}` already.",
        name=wording.name,
        channel=wording.channel,
        locale=wording.locale,
    )
