"""How often somebody may try: some tries at once, and one more each so many seconds.

All that is known of a key is one moment: when it has all its tries again. It is in the database,
so that a restart, or another process, lets nobody try more often; nothing is in memory. A row goes
when its moment has come.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError

from asyncstore.hub.faults import too_many
from asyncstore.hub.models import Tries

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.ext.asyncio import AsyncSession

    from asyncstore.hub.database import Database


@dataclass(frozen=True)
class Allowance:
    """How many tries each key of a kind has; pure.

    Attributes:
        kind: what the keys are.
        tries: how many at once.
        every: seconds after which one more is allowed.
    """

    kind: str
    tries: int
    every: float

    def taken(self, full_at: float, now: float) -> float:
        """Return when there will be all tries again, one more being taken.

        Args:
            full_at: when there would have been, in epoch seconds.
            now: epoch seconds.

        Raises:
            Refusal: 429, there is none left; says in how many seconds there is.
        """
        used = self._used(full_at, now)
        if used + 1 > self.tries:
            wait = (used + 1 - self.tries) * self.every
            raise too_many("Too many tries; wait a little.", retry_after=wait)
        return now + (used + 1) * self.every

    def given_back(self, full_at: float, now: float) -> float:
        """Return when there will be all tries again, one that was all right being uncounted."""
        return now + max(0.0, self._used(full_at, now) - 1) * self.every

    def _used(self, full_at: float, now: float) -> float:
        used = max(0.0, (full_at - now) / self.every)
        # Far more than there are: the clock was set back since, and nobody is to wait for it.
        return used if used <= 2 * self.tries else 0.0


ACCOUNT = Allowance("account", tries=10, every=30.0)
ADDRESS = Allowance("address", tries=50, every=2.0)


class Throttle:
    """Counts tries in a database.

    Args:
        database: where.
        clock: epoch seconds.
    """

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    async def take(self, *keys: tuple[Allowance, str]) -> None:
        """Count a try of each key, or of none where one has none left.

        Raises:
            Refusal: 429, one has none left; says in how many seconds there is.
        """
        now = self._clock()
        # Whoever is refused takes no turn among those who write.
        async with self._database.reading() as session:
            for allowance, key in keys:
                kept = await session.get(Tries, (allowance.kind, key))
                allowance.taken(kept.full_at if kept else now, now)
        async with self._database.writing() as session:
            await session.execute(delete(Tries).where(Tries.full_at <= now))
            for allowance, key in keys:
                row = await _locked(session, allowance, key, now)
                row.full_at = allowance.taken(row.full_at, now)

    async def give_back(self, session: AsyncSession, *keys: tuple[Allowance, str]) -> None:
        """Uncount a try that was all right, in the session of what it was for."""
        now = self._clock()
        for allowance, key in keys:
            row = await session.get(Tries, (allowance.kind, key), with_for_update=True)
            if row is not None:
                row.full_at = allowance.given_back(row.full_at, now)


async def _locked(session: AsyncSession, allowance: Allowance, key: str, now: float) -> Tries:
    """Return a key's row for this session alone, made if there is none."""
    named = (allowance.kind, key)
    row = await session.get(Tries, named, with_for_update=True)
    if row is not None:
        return row
    try:
        async with session.begin_nested():
            row = Tries(kind=allowance.kind, key=key, full_at=now)
            session.add(row)
    except IntegrityError:  # somebody else has done so at this moment
        row = await session.get_one(Tries, named, with_for_update=True)
    return row
