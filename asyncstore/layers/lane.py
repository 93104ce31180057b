"""Many reads without a task for each, with what the layers keep: the limit, tries, the deadline.

Theory of operation. A read that goes well is two function calls: one sends the request, one takes
the answer, from whatever callback brings it. All else, which is rare, is handed back: a read that
cannot begin at once is to be made by `Provider.get`, and one whose answer is not simply right is
to be finished by a task, which goes on as the retry layer does after a first try.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from asyncstore.errors import StoreError
from asyncstore.layers.retry import Retried
from asyncstore.provider import StartsReads
from asyncstore.types import Op

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from asyncstore.layers.limit import Limited
    from asyncstore.provider import Asked, Provider, Started
    from asyncstore.types import Blob

    Finish = Callable[[], Awaitable[Blob]]


class Lane:
    """Reads of whole objects through one stack of layers.

    Args:
        retried: the stack's top.
        limited: beneath it.
        inner: beneath that.
        came: told of each read that ended well: its token, and the bytes.
        unfinished: told of each other read, by its token, and what finishes it, once called.
    """

    __slots__ = ("_came", "_inner", "_limited", "_retried", "_under_way", "_unfinished")

    def __init__(
        self,
        retried: Retried,
        limited: Limited,
        inner: StartsReads,
        came: Callable[[Any, Blob], None],
        unfinished: Callable[[Any, Finish], None],
    ) -> None:
        self._retried = retried
        self._limited = limited
        self._inner = inner
        self._came = came
        self._unfinished = unfinished
        self._under_way: set[Started] = set()

    @property
    def under_way(self) -> int:
        """How many reads have been begun and not ended."""
        return len(self._under_way)

    def start(self, asked: Sequence[Asked]) -> int:
        """Begin the first of some reads; return how many.

        The others cannot begin at once, and are to be made by `Provider.get`.
        """
        gate = self._limited.reads
        end = self._retried.end()
        begun = self._inner.start_gets(asked[: gate.free], self._ended, deadline=end)
        if not begun:
            return 0
        used = gate.used
        began = gate.take(len(begun))
        for place, started in enumerate(begun):
            started.note = began + place, used + place + 1, end
        self._under_way.update(begun)
        return len(begun)

    def abandon(self) -> list[Any]:
        """Give up everything that is under way; return the tokens."""
        given_up = []
        while self._under_way:
            started = self._under_way.pop()
            started.abandon()
            began, used, _ = started.note
            self._limited.reads.leave(began, used, None)
            given_up.append(started.asked.token)
        return given_up

    def _ended(self, started: Started, blob: Blob | None) -> None:
        self._under_way.remove(started)
        if blob is None:
            began, used, _ = started.note
            self._limited.reads.leave(began, used, None)  # nobody need ever finish it
            self._unfinished(started.asked.token, partial(self._finish, started))
            return
        self._limited.reads.done(len(blob.data))
        self._retried.paid()
        self._came(started.asked.token, blob)

    async def _finish(self, started: Started) -> Blob:
        """Go on with a read, at a place of its own, as if that were still its first one."""
        retried, gate = self._retried, self._limited.reads
        began, used, end = started.note
        op = Op("get", started.asked.key)
        with retried.until(end):
            try:
                if gate.enter() is None:
                    await self._limited.turn(gate, op)
                try:
                    blob = await started.settle()
                except BaseException as error:
                    gate.leave(began, used, error)
                    raise
            except StoreError as error:
                key, if_match, most, _ = started.asked
                again = partial(retried.inner.get, key, if_match=if_match, most=most)
                return await retried.go_on(op, again, error, end=end)
        gate.done(len(blob.data))
        retried.paid()
        return blob


def lane_of(
    provider: Provider, came: Callable[[Any, Blob], None], unfinished: Callable[[Any, Finish], None]
) -> Lane | None:
    """Return the lane through a stack, where its layers and its provider have one."""
    if type(provider) is not Retried or provider.limited is None:
        return None
    inner = provider.limited.inner
    if not isinstance(inner, StartsReads):
        return None
    return Lane(provider, provider.limited, inner, came, unfinished)
