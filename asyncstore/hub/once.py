"""Requests that are sent again, and done once.

Whoever asks for something to be made may name the request with an `Idempotency-Key`, as a client
that lost the answer cannot know whether it was done. What a repeat is answered is committed with
what was made, so that there are both or neither, and kept for a day. A refusal is not kept: it
made nothing, and a repeat is judged anew.
"""

from __future__ import annotations

import hmac
import json
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import delete

from asyncstore.hub.faults import Refusal
from asyncstore.hub.models import Done
from asyncstore.hub.settings import DAY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from pydantic import BaseModel
    from sqlalchemy.ext.asyncio import AsyncSession

    from asyncstore.hub.callers import Caller
    from asyncstore.hub.core import Hub

    S = TypeVar("S", bound=BaseModel)

KEY = r"^[!-~]{16,128}$"
"""What a key is made of: characters that are seen, enough of them to be a random one's."""

KEPT_FOR = DAY
_MADE = 201


class Repeat(Exception):  # noqa: N818 - it is an answer, not a fault
    """A request was done before.

    Attributes:
        status: of the answer, as it was or as it has to be now.
        answer: its body, as JSON.
    """

    def __init__(self, status: int, answer: str) -> None:
        super().__init__("the request was done before")
        self.status = status
        self.answer = answer


class Once:
    """One request that makes something.

    Args:
        hub: where.
        caller: who asks; keys are theirs, or nobody's at an address.
        key: what names the request; `None` where nothing does, and it is done when it comes.
        asked: all that the answer depends on, in bytes.
    """

    def __init__(self, hub: Hub, caller: Caller, key: str | None, asked: bytes) -> None:
        self._hub = hub
        self._owner = caller.user_id or caller.address
        self._key = key
        self._digest = hmac.digest(hub.request_key, asked, "sha256").hex()
        self._kept: tuple[int, str] | None = None

    @asynccontextmanager
    async def making(self, *, with_password: bool = False) -> AsyncIterator[AsyncSession]:
        """Yield a session to make something in; at its end, that and its answer are committed.

        Args:
            with_password: whether the request holds one. Its digest is then as slow to try
                passwords on as what is stored of these.

        Raises:
            Repeat: it was done before.
            Refusal: 409, it is being done; 422, the key is another request's; 503, busy.
        """
        if self._key is None:
            async with self._hub.database.writing() as session:
                yield session
            return
        with self._under_way(self._key):
            await self._look_up(self._key)
            digest = self._digest
            if with_password:
                digest = await self._hub.passwords.hash(digest)
            async with self._hub.database.writing() as session:
                await sweep(self._hub, session)
                yield session
                session.add(self._row(self._key, digest))

    def told(self, said: S) -> S:
        """Return what is answered, and will be to a repeat."""
        self._kept = (_MADE, said.model_dump_json())
        return said

    def told_once(self, made: str) -> None:
        """Note that what is answered holds a secret, so that a repeat is told of its id alone."""
        body = {
            "description": "That was made when this was first asked for, and its text told then.",
            "code": "made_before",
            "id": made,
        }
        self._kept = (409, json.dumps(body))

    @contextmanager
    def _under_way(self, key: str) -> Iterator[None]:
        # In memory, as one process serves a hub; and gone with it, when nothing was committed.
        named = (self._owner, key)
        if named in self._hub.under_way:
            raise Refusal(
                409,
                "under_way",
                "The same request is still under way; ask again for its answer.",
                headers={"Retry-After": "1"},
            )
        self._hub.under_way.add(named)
        try:
            yield
        finally:
            self._hub.under_way.remove(named)

    async def _look_up(self, key: str) -> None:
        async with self._hub.database.reading() as session:
            kept = await session.get(Done, (self._owner, key))
        if kept is None or kept.expires_at <= self._hub.clock():
            return
        if not await self._is_the_same(kept.digest):
            raise Refusal(422, "key_used", "The Idempotency-Key is that of another request.")
        raise Repeat(kept.status, kept.answer)

    async def _is_the_same(self, digest: str) -> bool:
        if digest.startswith("$"):
            return await self._hub.passwords.verify(digest, self._digest)
        return hmac.compare_digest(digest, self._digest)

    def _row(self, key: str, digest: str) -> Done:
        assert self._kept is not None, "no answer was told"  # noqa: S101 - a route without one
        status, answer = self._kept
        return Done(
            owner=self._owner,
            key=key,
            digest=digest,
            status=status,
            answer=answer,
            expires_at=self._hub.clock() + KEPT_FOR,
        )


async def sweep(hub: Hub, session: AsyncSession) -> None:
    """Forget requests that were done more than a day ago."""
    # First of all in a session: who waits for another's row then holds nothing that one needs.
    await session.execute(delete(Done).where(Done.expires_at <= hub.clock()))
