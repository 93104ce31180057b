"""The audit log: who did what, from where, with which token; never a secret.

What changes something is written with the change. What changes nothing, such as credentials
that were handed out, is written together with others that wait at the same moment, before it is
answered: a log line each, a commit for many.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sqlalchemy import insert, update

from asyncstore.hub.models import Event, Token

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncstore.hub.callers import Caller
    from asyncstore.hub.database import Database

_TOGETHER = 500
_SUBJECT = 400


def event(
    caller: Caller, action: str, subject: str, *, at: float, organization_id: str = ""
) -> Event:
    """Return a line to be added in the session of the change.

    Args:
        caller: who.
        action: what, as `dataset.deleted`.
        subject: to what; names and identifiers alone.
        at: epoch seconds.
        organization_id: whose administrators may read it; `""` for none's.
    """
    return Event(
        at=at,
        action=action,
        actor=caller.username,
        token_id=caller.token_id,
        address=caller.address,
        organization_id=organization_id,
        subject=subject[:_SUBJECT],
    )


class Log:
    """Writes lines that go with no change, many in one commit."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock
        self._waiting: list[tuple[Event, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def write(
        self, caller: Caller, action: str, subject: str, *, organization_id: str = ""
    ) -> None:
        """Return when the line is on disk."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line = event(caller, action, subject, at=self._clock(), organization_id=organization_id)
        self._waiting.append((line, done))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_all())
        await done

    async def aclose(self) -> None:
        """Return when nothing waits any more."""
        if self._writer is not None:
            await asyncio.wait([self._writer])

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:_TOGETHER], self._waiting[_TOGETHER:]
                await self._write_batch(batch)
        finally:
            self._writer = None

    async def _write_batch(self, batch: list[tuple[Event, asyncio.Future[None]]]) -> None:
        try:
            async with self._database.writing() as session:
                await session.execute(insert(Event), [_row(line) for line, _ in batch])
                used = {line.token_id: line.at for line, _ in batch if line.token_id}
                for token_id, at in used.items():
                    await session.execute(
                        update(Token).where(Token.id == token_id).values(last_used_at=at)
                    )
        except Exception as error:  # noqa: BLE001 - each who waits is told
            for _, done in batch:
                if not done.done():
                    done.set_exception(error)
            return
        for _, done in batch:
            if not done.done():
                done.set_result(None)


def _row(line: Event) -> dict[str, object]:
    names = (c.key for c in Event.__table__.columns if c.key != "id")
    return {name: getattr(line, name) for name in names}
