"""A transfer's progress without `await`: an iterator of what there is to tell."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, Self

from asyncstore.background import Held
from asyncstore.sync._store import Store
from asyncstore.transfer import Events

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from types import TracebackType

    from asyncstore.transfer import Progress, Report

P = ParamSpec("P")

_TRANSFERS = ("download", "upload", "sync")


def watch(transfer: Callable[P, Report], /, *args: P.args, **how: P.kwargs) -> Watch:
    """Return a transfer to be watched, which begins where its `with` block does.

    `with watch(store.download, "photos", "here") as events: …`

    Args:
        transfer: the method `download`, `upload` or `sync` of a store.
        args: what it is to be called with.
        how: its keywords, but for `progress`.

    Raises:
        TypeError: it is another function, or `progress` is given.
    """
    store: Any = getattr(transfer, "__self__", None)
    name = getattr(transfer, "__name__", "")
    if not isinstance(store, Store) or name not in _TRANSFERS:
        raise TypeError("write watch(store.download, …), with store.upload, or with store.sync")
    if "progress" in how:
        raise TypeError("watch() tells of the progress itself: leave progress= out")
    begin = getattr(store._store, name)  # noqa: SLF001 - the same store
    return Watch(partial(begin, *map(_there, args), **how))


class Watch:
    """A transfer under way: a context manager, and inside it an iterator of `Progress`.

    The iteration ends with the transfer, and raises what the transfer raises. Whoever is slow gets
    the latest state, with all failures since the one before. Leaving before the end cancels the
    transfer, as Ctrl-C does.
    """

    def __init__(self, begin: Callable[..., Awaitable[Report]], /) -> None:
        self._report: Report | None = None
        self._held: Held[_Running] = Held(lambda: _Running(begin))
        self._running: _Running | None = None

    def __enter__(self) -> Self:
        self._running = self._held.enter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._running = None
        self._held.leave(error)

    @property
    def report(self) -> Report:
        """What was done.

        Raises:
            RuntimeError: the iteration did not come to the transfer's end.
        """
        if self._report is None:
            raise RuntimeError("there is no report before the iteration has ended")
        return self._report

    def __iter__(self) -> Iterator[Progress]:
        return self

    def __next__(self) -> Progress:
        if self._report is not None:
            raise StopIteration
        if self._running is None:
            raise RuntimeError("write `with` around watch(), and iterate inside it")
        now = self._held.run(self._running.next)
        if now is None:
            self._report = self._held.run(self._running.end)
            raise StopIteration
        return now


class _Running:
    """A transfer as a task of the background loop."""

    def __init__(self, begin: Callable[..., Awaitable[Report]]) -> None:
        self._begin = begin
        self._events = Events()
        self._told = False

    async def __aenter__(self) -> Self:
        self._task = asyncio.ensure_future(self._begin(progress=self._events))
        return self

    async def next(self) -> Progress | None:
        """Return what there is to tell, `None` at the end."""
        return await anext(self._events, None)

    async def end(self) -> Report:
        """Return what was done, or raise what ended it."""
        self._told = True
        return await self._task

    async def __aexit__(self, kind: object, *_: object) -> None:
        task = self._task
        left = not task.done()
        task.cancel()
        await asyncio.wait([task])
        failed = not task.cancelled() and task.exception() is not None
        if failed and not (left or self._told or kind):
            await task  # whoever left had not seen it


def _there(value: Any) -> Any:
    """Return an argument as the async method takes it."""
    if isinstance(value, Store):
        return value._store  # noqa: SLF001 - the same store
    if isinstance(value, Iterable) and not isinstance(value, str | os.PathLike):
        return tuple(value)  # drawn here, as it may use this very store
    return value
