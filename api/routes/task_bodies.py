"""What requests about tasks are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec
from msgspec import Meta

from api.merge import Patch
from api.paging import PageQuery
from api.query import RequestQuery
from api.types import NOT_BLANK, AttachmentUrl, GroupName, Id, Instant, Priority, Title
from api.validation import RequestBody, Validator, with_whole_numbers
from hub.app.errors import Invalid
from hub.app.names import NamedTask
from hub.app.tasks import BULK_MAX, Write
from hub.core.task import AssignmentRole, Status, TaskFields
from hub.store.task_lists import Sort

Text = Annotated[str, Meta(min_length=1, max_length=200)]
Description = Annotated[str, Meta(max_length=16_000, description="Plain text.")]
TaskType = Annotated[str, Meta(min_length=1, max_length=64)]
Tag = Annotated[str, Meta(min_length=1, max_length=64)]
Minutes = Annotated[int, Meta(ge=0, le=2**31 - 1, description="Minutes.")]
Percentage = Annotated[int, Meta(ge=0, le=100)]

_READ_ONLY: Final = frozenset(
    {"subtasks_count", "comments_count", *NamedTask.__struct_fields__} - set(TaskFields.__struct_fields__)
)


class _Content(RequestBody, kw_only=True):
    title: Title
    description: Description | None = None
    priority: Priority = "normal"
    group: GroupName | None = None
    task_type: TaskType | None = None
    due_date: Instant | None = None
    scheduled_at: Instant | None = None
    progress_percentage: Percentage = 0
    estimated_duration_min: Minutes | None = None
    actual_duration_min: Minutes | None = None
    tags: Annotated[list[Tag], Meta(max_length=32)] = msgspec.field(default_factory=list[str])
    assigned_to: Id | None = None
    lead_id: Id | None = None
    parent_task_id: Id | None = None


class NewTask(_Content, kw_only=True):
    """`title` is required. Without `due_date` it is never overdue; without `assigned_to` it waits to be claimed."""

    status: Literal["pending", "in_progress"] = "pending"


class TaskBody(_Content, kw_only=True):
    """A task as it is to be. What is left out takes its default; `status` stays as it is."""

    read_only: ClassVar[frozenset[str]] = _READ_ONLY

    status: Status | None = None


class TaskPatch(RequestBody, kw_only=True):
    """`id` is the task's; with `version`, another one is answered by 412."""

    id: Id
    version: Annotated[int, Meta(ge=1)] | None = None


class BulkBody(RequestBody, kw_only=True):
    """Tasks to make, and, where an item has an `id`, patches of tasks (with the `version` they are for, if given)."""

    mixed: ClassVar[dict[str, tuple[Any, Any, Any]]] = {"items": (NewTask, TaskBody, TaskPatch)}

    items: Annotated[list[dict[str, Any]], Meta(min_length=1, max_length=BULK_MAX)]


class CommentBody(RequestBody, kw_only=True):
    """What is said. The fields that only an answer has are ignored."""

    read_only: ClassVar[frozenset[str]] = frozenset(
        {"id", "tenant_id", "task_id", "user_id", "user_name", "created_at", "updated_at"}
    )

    comment: Annotated[
        str,
        Meta(max_length=4000, pattern=NOT_BLANK, extra={"message": "Must not be blank."}, description="Plain text."),
    ]
    attachment_urls: Annotated[list[AttachmentUrl], Meta(max_length=20)] = msgspec.field(default_factory=list[str])


class AssignBody(RequestBody, kw_only=True):
    """Who, and in which role."""

    user_id: Id
    role: AssignmentRole = "assignee"
    responsibility_percentage: Percentage | None = None


class CascadeQuery(RequestQuery, kw_only=True):
    """`cascade`: what is below follows."""

    cascade: bool = False


class TaskPageQuery(PageQuery, kw_only=True):
    """The orders of a list of tasks; `-` is downwards."""

    sort: Sort = "-created_at"


class TasksQuery(TaskPageQuery, kw_only=True):
    """Several groups, statuses, priorities and types are separated by commas. `assigned_to` is for supervisors."""

    unassigned: bool | None = None
    group: tuple[GroupName, ...] | None = None
    status: tuple[Status, ...] | None = None
    priority: tuple[Priority, ...] | None = None
    task_type: tuple[TaskType, ...] | None = None
    lead_id: Id | None = None
    due_before: Instant | None = None
    due_after: Instant | None = None
    assigned_to: Id | None = None
    q: Text | None = None


class UserQuery(RequestQuery, kw_only=True):
    """Whose: for an agent always one's own; for a supervisor, by default, the whole tenant's."""

    user_id: Id | None = None


_new: Final = Validator(NewTask)
_body: Final = Validator(TaskBody)


def fields_of(body: _Content) -> TaskFields:
    """What a body says, in the domain's words."""
    return msgspec.convert(body, TaskFields, from_attributes=True)


def replacing(body: TaskBody) -> Callable[[TaskFields], TaskFields]:
    """The change that a PUT makes."""
    return lambda _: fields_of(body)


def patching(patch: Patch[TaskBody]) -> Callable[[TaskFields], TaskFields]:
    """The change that a merge patch makes."""
    return lambda now: fields_of(patch.apply(TaskBody(**msgspec.structs.asdict(now))))


def writes_of(body: BulkBody) -> list[Write]:
    """One write an item, in order.

    Raises:
        Invalid: with every violation of what is to be made, and of ids and versions.
    """
    writes: list[Write] = []
    errors: list[tuple[str, str]] = []
    for place, item in enumerate(body.items):
        where = f"$.items[{place}]"
        try:
            writes.append(_patch_of(item, where) if "id" in item else _new_of(item, where))
        except Invalid as invalid:
            errors += invalid.errors
    if errors:
        raise Invalid(errors)
    return writes


_target: Final = Validator(TaskPatch)


def _new_of(item: dict[str, Any], where: str) -> Write:
    with _Placed(where):
        fields = fields_of(_new.convert_plain(item))
    return Write(None, lambda _: fields, where=where)


def _patch_of(item: dict[str, Any], where: str) -> Write:
    with _Placed(where):
        target = _target.convert_plain({name: item[name] for name in ("id", "version") if name in item})
    patched = {name: value for name, value in item.items() if name not in ("id", "version")}
    patch = Patch(_body, with_whole_numbers(patched))

    def change(now: TaskFields) -> TaskFields:
        with _Placed(where):
            return patching(patch)(now)

    return Write(target.id, change, None if target.version is None else (target.version,), where)


class _Placed:
    """Names the item in the paths of what is refused within."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, Invalid):
            raise Invalid([(self._where + path.removeprefix("$"), text) for path, text in error.errors]) from None
