"""What requests about notifications are made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar, Final, Literal

from msgspec import Meta

from api.paging import PageQuery
from api.query import RequestQuery
from api.types import (
    ActionUrl,
    Category,
    Channel,
    CollapseKey,
    Data,
    EntityId,
    EntityType,
    GroupName,
    Id,
    Instant,
    Message,
    NotificationType,
    Priority,
    Title,
)
from api.validation import RequestBody
from hub.app.broadcasts import NOBODY
from hub.app.create import RECIPIENTS_MAX, ToGroup, addressed
from hub.app.errors import Invalid, Violation
from hub.app.wording import Worded
from hub.core.notification import CHANNELS, Draft
from hub.core.principal import Principal
from hub.core.transitions import Action

ACTIONS_MAX: Final = 200

IncludeMore = Literal["total", "muted", "expired"]

Text = Annotated[str, Meta(min_length=1, max_length=200)]
TemplateName = Annotated[str, Meta(min_length=1, max_length=200)]


class _About(RequestBody, kw_only=True):
    type: NotificationType
    priority: Priority = "normal"
    category: Category = "general"
    action_url: ActionUrl | None = None
    expires_at: Instant | None = None
    deliver_at: Instant | None = None
    related_entity_type: EntityType | None = None
    related_entity_id: EntityId | None = None
    data: Data | None = None
    collapse_key: CollapseKey | None = None
    channels: Annotated[list[Channel], Meta(min_length=1, max_length=len(CHANNELS))] | None = None

    def check(self) -> Iterator[Violation]:
        if self.related_entity_id is not None and self.related_entity_type is None:
            yield "related_entity_type", "Is needed where `related_entity_id` is given."
        if self.expires_at is not None and self.deliver_at is not None and self.expires_at <= self.deliver_at:
            yield "expires_at", "Must be after `deliver_at`."


class Content(_About, kw_only=True):
    """What is said, to whomever."""

    title: Title
    message: Message


class NewNotification(_About, kw_only=True):
    """One text, for `user_id`, for each of `user_ids`, or for each member of a `group`.

    A `template` (its name, or the id of one of that name) gives each their own, in their language or the nearest there
    is, from `variables`: its subject is the title, its body the message. A `title` or `message` given with it stays.
    """

    required_unless: ClassVar[dict[str, str]] = {"title": "template", "message": "template"}

    title: Title | None = None
    message: Message | None = None
    template: TemplateName | Id | None = None
    variables: Data | None = None
    user_id: Id | None = None
    user_ids: Annotated[list[Id], Meta(min_length=1, max_length=RECIPIENTS_MAX)] | None = None
    group: GroupName | None = None

    def check(self) -> Iterator[Violation]:
        if sum(one is not None for one in (self.user_id, self.user_ids, self.group)) != 1:
            yield "user_id", "Give either `user_id`, `user_ids` or `group`."
        if self.template is None and self.variables is not None:
            yield "variables", "Are those of a `template`, and none is given."
        yield from super().check()


class NewBroadcast(Content, kw_only=True):
    """One text, for everyone of the tenant who has an inbox, or for the members of a `group`."""

    group: GroupName | None = None


class NewNotifications(RequestBody, kw_only=True):
    """Different ones, in one transaction."""

    items: Annotated[list[NewNotification], Meta(min_length=1, max_length=RECIPIENTS_MAX)]


class Withdrawal(RequestBody, kw_only=True):
    """Which ones, by exactly one of the three."""

    broadcast_id: Id | None = None
    collapse_key: CollapseKey | None = None
    related_entity_type: EntityType | None = None
    related_entity_id: EntityId | None = None

    def check(self) -> Iterator[Violation]:
        if (self.related_entity_type is None) != (self.related_entity_id is None):
            yield "related_entity_id", "`related_entity_type` and `related_entity_id` go together."
        elif sum(one is not None for one in (self.broadcast_id, self.collapse_key, self.related_entity_id)) != 1:
            yield "", "Give one of `broadcast_id`, `collapse_key` and the related entity."


class SnoozeBody(RequestBody, kw_only=True):
    """When it comes back."""

    until: Instant


class ActionsBody(RequestBody, kw_only=True):
    """One action, in one transaction."""

    ids: Annotated[list[Id], Meta(min_length=1, max_length=ACTIONS_MAX)]
    action: Action


class UpToBody(RequestBody, kw_only=True):
    """All that went live no later than `before` did; without it, all that is live at the commit."""

    before: Id | None = None


class CleanupBody(RequestBody, kw_only=True):
    """What was created more than `days` days ago."""

    days: Annotated[int, Meta(ge=1, le=36500)]
    include_unread: bool = False


class ExplainBody(RequestBody, kw_only=True):
    """What is asked about; `at` is now where it is left out."""

    user_id: Id | None = None
    type: NotificationType = "system"
    category: Category = "general"
    priority: Priority = "normal"
    channel: Channel = "in_app"
    at: Instant | None = None
    deliver_at: Instant | None = None
    expires_at: Instant | None = None


class QuietBody(RequestBody, kw_only=True):
    """Quiet until then; null ends it."""

    quiet_until: Instant | None


class ApiKeyBody(RequestBody, kw_only=True):
    """What the credential is called."""

    name: Text


class UserQuery(RequestQuery, kw_only=True):
    """Whose: by default one's own."""

    user_id: Id | None = None


class HistoryQuery(PageQuery, kw_only=True):
    """One's own, newest first. Several types, categories and priorities are separated by commas."""

    type: tuple[NotificationType, ...] | None = None
    category: tuple[Category, ...] | None = None
    priority: tuple[Priority, ...] | None = None
    is_read: bool | None = None
    is_archived: bool | None = None
    since: Instant | None = None
    until: Instant | None = None
    q: Text | None = None
    held: bool = False
    include: tuple[IncludeMore, ...] = ()  # pyright: ignore[reportIncompatibleVariableOverride]


def drafts_of(items: Sequence[NewNotification], principal: Principal, path: str) -> list[Draft | Worded | ToGroup]:
    """One draft a recipient, in order; a person named twice for one text is told once. Groups are not looked up yet.

    `path` is where an item stands in the request, with its place for `{}`.

    Raises:
        Invalid: more recipients than one transaction takes.
    """
    drafts: list[Draft | Worded | ToGroup] = []
    for place, item in enumerate(items):
        plain = draft_of(item, item.title or "", item.message or "", principal)
        draft = plain
        if item.template is not None:
            draft = Worded(draft=plain, template=item.template, variables=item.variables or {}, path=path.format(place))
        if item.group is not None:
            drafts.append(ToGroup(item.group, draft))
            continue
        named = dict.fromkeys(item.user_ids) if item.user_ids is not None else (item.user_id or 0,)
        drafts.extend(addressed(draft, user_id) for user_id in named)
    if len(drafts) > RECIPIENTS_MAX:
        raise Invalid([("$.items", f"Names {len(drafts)} recipients; at most {RECIPIENTS_MAX} at once.")])
    return drafts


def draft_of(item: _About, title: str, message: str, principal: Principal) -> Draft:
    """What is said, as yet to nobody."""
    return Draft(
        user_id=NOBODY,
        type=item.type,
        title=title,
        message=message,
        priority=item.priority,
        category=item.category,
        action_url=item.action_url,
        expires_at=item.expires_at,
        deliver_at=item.deliver_at,
        related_entity_type=item.related_entity_type,
        related_entity_id=item.related_entity_id,
        data=item.data,
        collapse_key=item.collapse_key,
        channels=None if item.channels is None else frozenset(item.channels),
        created_by=principal.user_id,
        created_by_key=principal.api_key_id,
    )
