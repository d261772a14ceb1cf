"""Notifications worded by a template: each recipient's in their language, or the nearest there is.

Owns the way from a template's name and variables to drafts with a title and a message. It ends before anything is
locked: texts are made outside the transaction that writes them, once a language.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from hub.app.caller import Caller
from hub.app.deps import Deps
from hub.app.errors import Invalid
from hub.app.templates import say
from hub.core.notification import MESSAGE_CHARACTERS_MAX, TITLE_CHARACTERS_MAX, Draft
from hub.core.template import LAST_RESORT, PLAIN_CHANNELS, choose_locale
from hub.store import templates
from hub.store.templates import Template


class Worded(msgspec.Struct, frozen=True, kw_only=True):
    """A draft whose title and message a template gives; what `draft` says already (not empty) stays.

    `template` is a name, or an id that stands for the name of that one. `path` is where the request says all this,
    such as `$.items[3]`.
    """

    draft: Draft
    template: str | int
    variables: Mapping[str, Any]
    path: str


class Language:
    """The templates and languages that one request needs, read in one transaction."""

    def __init__(
        self, wordings: Sequence[Template], names: Mapping[int, str], locales: Mapping[int, str | None], usual: str
    ) -> None:
        self._by_name: dict[str, list[Template]] = {}
        for one in wordings:
            self._by_name.setdefault(one.name, []).append(one)
        self._names = names
        self._locales = locales
        self._usual = usual

    def wording_of(self, one: Worded) -> Template:
        """The template that words a draft for its recipient.

        Raises:
            Invalid: there is none of that name whose text is plain.
        """
        name = self._names.get(one.template) if isinstance(one.template, int) else one.template
        family = [] if name is None else self._by_name.get(name, [])
        for channel in PLAIN_CHANNELS:
            by_locale = {each.locale: each for each in family if each.channel == channel}
            if by_locale:
                wanted = self._locales.get(one.draft.user_id) or self._usual
                return by_locale[choose_locale(by_locale, wanted, self._usual)]
        raise Invalid([(f"{one.path}.template", "There is no active template of that name with plain text.")])


async def word(deps: Deps, caller: Caller, drafts: Sequence[Draft | Worded]) -> tuple[list[Draft], Counter[int]]:
    """Drafts with their texts, in their order, and how often each template was used.

    Raises:
        Invalid: no such template, a missing variable, or a text that no notification may have; all that is wrong.
    """
    language = await _read(deps, caller, [one for one in drafts if isinstance(one, Worded)])
    texts: dict[tuple[int, int], tuple[str, str]] = {}
    used: Counter[int] = Counter()
    worded: list[Draft] = []
    for one in drafts:
        if isinstance(one, Draft):
            worded.append(one)
            continue
        template = language.wording_of(one)
        # The same variables are the same object: those of one text for many.
        key = (template.id, id(one.variables))
        if key not in texts:
            texts[key] = await _text(template, one)
        title, message = texts[key]
        used[template.id] += 1
        worded.append(replace(one.draft, title=title, message=message))
    return worded, used


async def _read(deps: Deps, caller: Caller, asked: Sequence[Worded]) -> Language:
    names = {one.template for one in asked if isinstance(one.template, str)}
    tenant_id = caller.tenant_id
    async with deps.database.transaction(tenant_id) as tx:
        by_id: dict[int, str] = {}
        for template_id in {one.template for one in asked if isinstance(one.template, int)}:
            found = await templates.read_template(tx, tenant_id, template_id)
            if found is not None:
                by_id[template_id] = found.name
        wordings = await templates.read_wordings(tx, tenant_id, names | set(by_id.values()), PLAIN_CHANNELS)
        locales, usual = await templates.read_locales(tx, tenant_id, {one.draft.user_id for one in asked})
    return Language(wordings, by_id, locales, usual or LAST_RESORT)


async def _text(template: Template, one: Worded) -> tuple[str, str]:
    made = await say(template, one.variables, f"{one.path}.variables")
    title = one.draft.title or made.subject or ""
    message = one.draft.message or made.body
    violations = [
        (f"{one.path}.{field}", f"The template makes {fault}.")
        for field, text, characters_max in (
            ("title", title, TITLE_CHARACTERS_MAX),
            ("message", message, MESSAGE_CHARACTERS_MAX),
        )
        if (fault := _fault_of(text, characters_max)) is not None
    ]
    if violations:
        raise Invalid(violations)
    return title, message


def _fault_of(text: str, characters_max: int) -> str | None:
    if not text.strip():
        return "nothing of it, and the request does not say it"
    if len(text) > characters_max:
        return f"{len(text)} characters of it; at most {characters_max}"
    if "\0" in text:
        return "a text with a NUL, which cannot be kept"
    return None
