"""Notifications, reads and archivings that share a transaction: one trip locks for all, one reads, one writes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any, cast

from hub.app.announcing import news_of
from hub.app.errors import AppError
from hub.app.group import Broken, Group, union
from hub.app.joint import Joint, Locked, authors_of
from hub.app.lanes import Job
from hub.app.unit import position_in, stream_of
from hub.core.changes import Changes
from hub.core.creation import Collapsing
from hub.core.notification import Row
from hub.store import audit, notifications, streams
from hub.store.pool import Tx
from hub.store.streams import Facts
from hub.store.writing import write


class InboxGroup(Group):
    """A group of `Joint`s."""

    async def _write(self, tx: Tx) -> None:
        tenant_id = self.tenant_id
        wanted = [_joint_of(job) for job in self.jobs]
        inboxes = await streams.lock_streams(
            tx,
            tenant_id,
            union(joint.user_ids for joint in wanted if joint.makes_streams),
            # Who only acts on what they have is refused where they have nothing, and must not begin to have an inbox.
            union(joint.user_ids for joint in wanted if not joint.makes_streams),
        )
        jobs = await self._but_repeated(tx)
        joints = [_joint_of(job) for job in jobs]
        reading = [joint for joint in joints if joint.own_ids]
        found = await notifications.read_rows(
            tx,
            tenant_id,
            union(joint.user_ids for joint in reading),
            union(joint.own_ids for joint in reading),
        )
        facts = await streams.read_facts(
            tx,
            tenant_id,
            callers=union([user_id] for job in jobs if (user_id := stream_of(job.caller)) is not None),
            deciding=union(joint.user_ids for joint in joints if joint.is_judging),
            keys=list({key for joint in joints for key in joint.keys}),
            fresh=sum(joint.fresh for joint in joints),
            authors=authors_of(((job.caller, joint) for job, joint in zip(jobs, joints, strict=True)), found),
        )
        changes = Changes(facts.now, inboxes)
        audits = self._decide(jobs, facts, changes, {row.id: row for row in found})
        await write(tx, tenant_id, changes, audits)
        self.news = news_of(tenant_id, facts.epoch, changes)

    def _decide(
        self, jobs: Sequence[Job], facts: Facts, changes: Changes, rows: dict[int, Row]
    ) -> Sequence[audit.Entry]:
        audits: list[audit.Entry] = []
        collapsing = Collapsing(facts.unread)
        ids = iter(facts.ids)
        for job in jobs:
            joint = _joint_of(job)
            locked = Locked(job.caller, facts, changes, rows, collapsing)
            locked.ids = list(islice(ids, joint.fresh))
            steps = changes.steps
            try:
                result = joint.decide(locked)
            except AppError as refused:
                if changes.steps != steps:
                    raise Broken from refused
                self._refuse(job, refused)
                continue
            except Exception as error:
                raise Broken from error
            audits += locked.audits
            user_id = stream_of(job.caller)
            self._answer(job, result, None if user_id is None else position_in(facts, changes, user_id))
        return audits


def _joint_of(job: Job) -> Joint[Any]:
    return cast(Joint[Any], job.joint)
