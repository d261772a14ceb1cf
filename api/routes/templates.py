"""Templates of messages."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final

import msgspec
from msgspec import Meta

from api.paging import Cursors, Listing, PageQuery
from api.route import ADMINS, Answer, Call, Route, route
from api.routes.bodies import TemplateName, Text
from api.routes.calling import answer_of, caller_of
from api.types import Channel, Data
from api.validation import RequestBody
from hub.app import templates
from hub.app.deps import Deps
from hub.app.templates import Preview
from hub.app.unit import Outcome
from hub.core.preferences import Locale
from hub.store.templates import Asked, Template, Version, Wording
from hub.templates.grammar import SOURCE_CHARACTERS_MAX

_LIST: Final = Cursors("templates", tuple[str, str, str])

VariableName = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}(?![\s\S])",
        extra={"message": "Must be 1 to 64 letters, digits and underscores, a letter first."},
    ),
]
TypeName = Annotated[str, Meta(min_length=1, max_length=64)]


class NewTemplate(RequestBody, kw_only=True):
    """What it says, in Jinja's syntax: `{{ name }}`, `{% if %}`, `{% for %}` and a few filters; no calls.

    One a name, channel and locale. `variables` names what `subject` and `body` may use; to use another is refused.
    For e-mail the body is HTML, and what variables hold is escaped in it; else it is plain text.
    """

    name: TemplateName
    channel: Channel
    body: Annotated[str, Meta(min_length=1, max_length=SOURCE_CHARACTERS_MAX)]
    subject: Annotated[str, Meta(max_length=1000, description="The title where it words a notification.")] | None = None
    locale: Locale = "en"
    type: TypeName | None = None
    variables: Annotated[list[VariableName], Meta(max_length=100)] = msgspec.field(default_factory=list[str])
    is_active: bool = True


class TemplateBody(NewTemplate, kw_only=True):
    """A template as it is to be. The fields that only an answer has are ignored."""

    read_only: ClassVar[frozenset[str]] = frozenset(set(Template.__struct_fields__) - set(Wording.__struct_fields__))


class PreviewBody(RequestBody, kw_only=True):
    """What the variables hold."""

    variables: Data = msgspec.field(default_factory=dict[str, Any])


class TemplatesQuery(PageQuery, kw_only=True):
    """Several channels are separated by commas; `q` is looked for in names and subjects."""

    name: TemplateName | None = None
    channel: tuple[Channel, ...] | None = None
    type: TypeName | None = None
    locale: Text | None = None
    is_active: bool | None = None
    q: Text | None = None


class Versions(msgspec.Struct):
    """The newest first; at most 200."""

    items: list[Version]


def _wording_of(body: NewTemplate) -> Wording:
    return Wording(
        name=body.name,
        type=body.type,
        locale=body.locale,
        channel=body.channel,
        subject=body.subject,
        body=body.body,
        variables=list(dict.fromkeys(body.variables)),
        is_active=body.is_active,
    )


def _tagged(answer: Answer, template: Template | None) -> Answer:
    """With the version as its tag; a repeated answer is as it was kept, without one."""
    if template is None:
        return answer
    return msgspec.structs.replace(answer, headers=(("etag", f'"{template.version}"'),))


def _answer(outcome: Outcome[Template], status: int) -> Answer:
    return _tagged(answer_of(outcome, status=status), outcome.result)


@route("GET", "/templates", summary="The templates", roles=ADMINS, responses={200: Listing[Template]}, position=False)
async def list_templates(call: Call[Deps, None, TemplatesQuery]) -> Answer:
    """By name, channel and locale."""
    query = call.query
    asked = Asked(
        name=query.name,
        channels=query.channel,
        type=query.type,
        locale=query.locale,
        is_active=query.is_active,
        text=query.q,
        after=_LIST.position(query),
        limit=query.limit + 1,
        offset=query.offset or 0,
    )
    page = await templates.list_templates(call.deps, caller_of(call), asked, with_total="total" in query.include)
    listing = _LIST.page(query, page.items, lambda one: (one.name, one.channel, one.locale), total=page.total)
    return Answer(200, listing)


@route("POST", "/templates", summary="Create a template", roles=ADMINS, responses={201: Template}, errors=(409,),
       idempotent=True)  # fmt: skip
async def create_template(call: Call[Deps, NewTemplate, None]) -> Answer:
    """Its first version is kept with it."""
    caller = caller_of(call, status=201)
    return _answer(await templates.create_template(call.deps, caller, _wording_of(call.body)), 201)


@route("GET", "/templates/{id}", summary="One template", roles=ADMINS, responses={200: Template}, errors=(404,),
       position=False)  # fmt: skip
async def read_template(call: Call[Deps, None, None]) -> Answer:
    template = await templates.read_template(call.deps, caller_of(call), call.id())
    return _tagged(Answer(200, template), template)


@route("PUT", "/templates/{id}", summary="Replace a template", roles=ADMINS, responses={200: Template},
       errors=(404, 409, 412))  # fmt: skip
async def put_template(call: Call[Deps, TemplateBody, None]) -> Answer:
    """What it said before stays among its versions."""
    wording = _wording_of(call.body)
    return _answer(await templates.replace_template(call.deps, caller_of(call), call.id(), wording, call.if_match), 200)


@route("DELETE", "/templates/{id}", summary="Delete a template", roles=ADMINS, responses={204: None},
       errors=(404, 412))  # fmt: skip
async def delete_template(call: Call[Deps, None, None]) -> Answer:
    """Its versions go with it; what was sent stays in the log."""
    return answer_of(await templates.delete_template(call.deps, caller_of(call), call.id(), call.if_match), status=204)


@route("GET", "/templates/{id}/versions", summary="What a template has said", roles=ADMINS,
       responses={200: Versions}, errors=(404,), position=False)  # fmt: skip
async def read_versions(call: Call[Deps, None, None]) -> Answer:
    return Answer(200, Versions(await templates.read_versions(call.deps, caller_of(call), call.id())))


@route("POST", "/templates/{id}/preview", summary="What a message would say", roles=ADMINS,
       responses={200: Preview}, errors=(404,), position=False)  # fmt: skip
async def preview_template(call: Call[Deps, PreviewBody, None]) -> Answer:
    """Nothing is sent, nothing is counted. A missing variable is named."""
    return Answer(200, await templates.preview(call.deps, caller_of(call), call.id(), call.body.variables))


TEMPLATES: Final[list[Route]] = [
    list_templates,
    create_template,
    read_template,
    put_template,
    delete_template,
    read_versions,
    preview_template,
]
