"""Guarded: somebody is asked before every write, and may refuse it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from asyncstore.errors import StoreError
from asyncstore.layers.base import Layer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asyncstore.provider import Provider
    from asyncstore.types import Op

T = TypeVar("T")


class Guard(Protocol):
    """Who decides whether writes may go on, such as the holder of a lock."""

    @property
    def read_only(self) -> bool:
        """Whether every write is refused."""
        ...

    async def before_write(self) -> None:
        """Return if a write may begin now; raise a `StoreError` in its place otherwise."""
        ...


class Guarded(Layer):
    """Let reads pass, and writes once the guard has; giving up an upload needs no leave."""

    __slots__ = ("_guard",)

    def __init__(self, inner: Provider, guard: Guard) -> None:
        super().__init__(inner)
        self._guard = guard

    async def around(self, op: Op, call: Callable[[], Awaitable[T]], /) -> T:
        """Make the call, after the guard's leave if it writes."""
        if op.write and op.name != "abort":
            try:
                await self._guard.before_write()
            except StoreError as error:
                raise error.at(op.name, self.locate(op.key)) from None
        return await call()
