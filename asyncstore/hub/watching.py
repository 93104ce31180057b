"""Whether a grant still holds: asked by the storage at each of its requests.

Answers are kept for less than a second, so that a token that was revoked, a role that was taken
away or a data set that was deleted ends the use of credentials handed out before.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from sqlalchemy import select

from asyncstore.hub.models import Dataset, Member, Token

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.ext.asyncio import AsyncSession

    from asyncstore.hub.database import Database
    from asyncstore.hub.storage import Grant

_KEPT_FOR = 0.5
_KEPT = 20_000


class Watch:
    """Answers for grants, from the database or from less than a second ago."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock
        self._known: dict[tuple[str, str, str], tuple[float, asyncio.Future[bool]]] = {}

    async def allows(self, grant: Grant) -> bool:
        """Whether the token, its owner's role and the data set still are what they were."""
        key = (grant.token_id, grant.dataset, grant.mode)
        asked, answer = self._known.get(key, (0.0, None))
        now = time.monotonic()
        if answer is None or now - asked > _KEPT_FOR or answer.cancelled():
            if len(self._known) >= _KEPT:
                self._known.clear()
            # One question for all who ask meanwhile; none of them can cancel it for the others.
            answer = asyncio.ensure_future(self._ask(grant))
            self._known[key] = (now, answer)
        return await asyncio.shield(answer)

    def forget(self) -> None:
        """Ask anew from now on: something was taken away."""
        self._known.clear()

    async def _ask(self, grant: Grant) -> bool:
        async with self._database.reading() as session:
            dataset = await session.get(Dataset, grant.dataset)
            if dataset is None or dataset.location != "hub":
                return False
            if not grant.token_id:
                return dataset.public and grant.mode == "r"
            return await self._holds(session, grant, dataset)

    async def _holds(self, session: AsyncSession, grant: Grant, dataset: Dataset) -> bool:
        token = await session.get(Token, grant.token_id)
        if token is None or token.expires_at <= self._clock():
            return False
        role = await session.scalar(
            select(Member.role).where(
                Member.organization_id == dataset.organization_id,
                Member.user_id == token.user_id,
            )
        )
        if grant.mode == "r":
            return role is not None or dataset.public
        return role in ("write", "admin") and token.access == "write"
