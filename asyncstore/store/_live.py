"""What is live behind a store: providers and layers, one stack per event loop.

A handle is a recipe. Here is what the recipe made in this process: a stack for each event loop
that used it, forgotten in a forked child, closed with the store or, at the latest, with its loop.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import sys
import warnings
import weakref
from asyncio import _get_running_loop
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from asyncstore import background, registry
from asyncstore.errors import ConfigurationError
from asyncstore.layers import Bridged, Guarded, Options, layered
from asyncstore.store._reading import LARGE
from asyncstore.types import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine

    from asyncstore.layers import Guard
    from asyncstore.provider import Provider
    from asyncstore.url import StoreURL


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that is needed to open a store, in any process.

    Attributes:
        url: where.
        settings: for the provider; holds the secrets, which do not pickle.
        options: for the layers.
        provider: a provider that somebody made, in place of one from the registry.
        keep_secrets: whether a pickle holds the credentials.
        lost: what a pickle left out; a store without it refuses to work.
    """

    url: StoreURL
    settings: Settings = field(default_factory=Settings)
    options: Options = field(default_factory=Options)
    provider: Provider | None = None
    keep_secrets: bool = False
    lost: tuple[str, ...] = ()

    @property
    def engine(self) -> bool:
        """Whether the provider needs an asyncio loop and belongs to it."""
        if self.provider is not None:
            return self.provider.limits.engine
        return registry.SERVICES[self.url.scheme].engine

    def connect(self) -> Provider:
        """Make the provider; no I/O.

        Raises:
            ConfigurationError: the recipe came out of a pickle without its credentials.
        """
        if self.provider is not None:
            return self.provider
        if self.lost:
            raise ConfigurationError(
                f"this store for {self.url} was pickled without its {' and '.join(self.lost)}; "
                "open it again with them, or pickle store.with_secrets()"
            )
        return registry.connector(self.url.scheme)(self.url, self.settings)

    def without_secrets(self) -> Recipe:
        """Return a recipe fit for a pickle: what is no secret, and the names of what is."""
        if self.keep_secrets:
            return self
        lost = dict.fromkeys(self.lost)
        settings = self.settings
        if _is_secret(settings.creds):
            settings = settings.replace(creds=None)
            lost["creds"] = None
        if settings.token is not None:
            settings = settings.replace(token=None)
            lost["token"] = None
        options = self.options
        if options.trace is not None and not _pickles(options.trace):
            options = replace(options, trace=None)
        return replace(self, settings=settings, options=options, lost=tuple(lost))


_OPEN_FIELDS = {"profile_name", "endpoint_url", "aws_region", "region", "project_id"}


def _is_secret(creds: Any) -> bool:
    """Whether credentials hold a secret, rather than say where one is to be found.

    A function is pickled by its name; one without a name that can be imported stays behind.
    """
    if creds is None or isinstance(creds, str | os.PathLike):
        return isinstance(creds, str) and creds.lstrip().startswith("{")
    if callable(creds):
        return not _pickles(creds)
    return not (isinstance(creds, dict) and creds.keys() <= _OPEN_FIELDS)


def _pickles(function: Any) -> bool:
    bound = getattr(function, "__self__", None)
    if not isinstance(function, FunctionType | BuiltinFunctionType) or not (
        bound is None or isinstance(bound, ModuleType)
    ):
        return False  # an object with `__call__`, or one that a method is bound to, is state
    try:
        pickle.dumps(function)
    except (pickle.PicklingError, AttributeError, TypeError):
        return False
    return True


class Live:
    """The stacks that a recipe made in this process.

    Args:
        recipe: what to make them from.
        origin: the line that opened the store, for the warning about an unclosed one.
    """

    def __init__(self, recipe: Recipe, origin: str) -> None:
        self.recipe = recipe
        self.origin = origin
        self.most = LARGE if recipe.engine else None  # bytes in one request
        self.found = False  # whether the bucket is known to exist
        self._owner: weakref.ref[Any] | None = None
        self._shared: Provider | None = None
        self._stacks: dict[Any, _Stack] = {}
        self._last: tuple[Any, Provider | None] = (None, None)
        self._closed = False
        _all.add(self)

    @property
    def read_only(self) -> bool:
        """Whether every write is refused."""
        return self.recipe.options.read_only

    def belong_to(self, store: Any) -> None:
        """Say which handle closes this."""
        self._owner = weakref.ref(store)

    def belongs_to(self, store: Any) -> bool:
        """Whether closing `store` closes this: it is the first handle, or that one is gone."""
        owner = self._owner and self._owner()
        return owner is None or owner is store

    def provider(self) -> Provider:
        """Return the layered provider for the running event loop, made on first use.

        Raises:
            ConfigurationError: the store is closed.
        """
        loop, top = self._last
        if top is not None and loop is _get_running_loop():
            return top
        return self._find()

    async def there(self, call: Callable[[], Coroutine[Any, Any, T]], /) -> T:
        """Await what a provider offers besides `Provider`'s calls, where the provider lives."""
        if self.recipe.engine and _get_running_loop() is None:
            return await background.call(call)
        return await call()

    def _find(self) -> Provider:
        if self._closed:
            raise ConfigurationError(f"the store for {self.recipe.url} is closed; open it again")
        loop = _get_running_loop()
        key = loop or _trio_token()
        stack = self._stacks.get(key)
        if stack is None:
            self._forget_ended_loops()
            stack = self._stacks[key] = self._make(loop)
        if loop is not None:
            self._last = (loop, stack.top)
        return stack.top

    def _make(self, loop: asyncio.AbstractEventLoop | None) -> _Stack:
        recipe = self.recipe
        if not recipe.engine:
            if self._shared is None:
                self._shared = recipe.connect()
            return _Stack(layered(self._shared, recipe.options), self._shared, None)
        if loop is None:
            there = background.run(self._bottom)
            return _Stack(layered(Bridged(there), recipe.options), there, None)
        provider = recipe.connect()
        return _Stack(layered(provider, recipe.options), provider, _close_with_loop(provider))

    async def _bottom(self) -> Provider:
        """Return the provider without layers of the loop that this runs on."""
        self._find()
        return self._stacks[_get_running_loop()].bottom

    def _forget_ended_loops(self) -> None:
        for key in list(self._stacks):
            if isinstance(key, asyncio.AbstractEventLoop) and key.is_closed():
                del self._stacks[key]

    async def aclose(self) -> None:
        """Close every stack, whichever event loop it is on; twice is as once."""
        self._closed = True
        self._last = (None, None)
        stacks, self._stacks = self._stacks, {}
        shared, self._shared = self._shared, None
        here = _get_running_loop()
        for loop, stack in stacks.items():
            if stack.keeper is None or (loop is not here and loop.is_closed()):
                continue
            if loop is here:
                await stack.keeper.aclose()
            else:
                await _on(loop, stack.keeper)
        if shared is not None and self.recipe.provider is None:
            await shared.aclose()

    def forget(self) -> None:
        """Drop what is live without touching it: in a forked child it is the parent's."""
        _parents.append((self._stacks, self._shared))
        self._stacks = {}
        self._shared = None
        self._last = (None, None)

    def __del__(self) -> None:
        if (self._stacks or self._shared) and not self._closed:
            warnings.warn(
                f"unclosed store for {self.recipe.url}, opened at {self.origin}; "
                "use `async with` or `await store.aclose()`",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )


class Watched(Live):
    """Another's stacks, with a guard before every write; whoever closes those closes this.

    Its recipe is read-only: a guard, such as a lock, does not travel in a pickle.
    """

    def __init__(self, live: Live, guard: Guard) -> None:
        recipe = live.recipe
        closed = replace(recipe, options=replace(recipe.options, read_only=True))
        super().__init__(closed, live.origin)
        self._watched = live
        self._guard = guard

    @property
    def read_only(self) -> bool:
        """Whether every write is refused."""
        return self._watched.read_only or self._guard.read_only

    def belongs_to(self, store: Any) -> bool:
        """Return `False`: the stacks are another's to close."""
        del store
        return False

    def provider(self) -> Provider:
        """Return the other's provider behind the guard."""
        inner = self._watched.provider()
        found, top = self._last
        if top is None or found is not inner:
            top = Guarded(inner, self._guard)
            self._last = (inner, top)
        return top


@dataclass(slots=True)
class _Stack:
    top: Provider
    bottom: Provider
    keeper: AsyncGenerator[None] | None


def _close_with_loop(provider: Provider) -> AsyncGenerator[None]:
    """Return a generator that closes the provider when it is closed, or when its loop ends.

    An event loop closes the asynchronous generators that were begun on it before it ends, which
    is the one hook there is: `asyncio.run` twice over one store leaves no socket behind.
    """

    async def keep() -> AsyncGenerator[None]:
        try:
            yield
        finally:
            await provider.aclose()

    keeper = keep()
    begin = keeper.asend(None)
    with suppress(StopIteration):
        begin.send(None)
    return keeper


async def _on(loop: asyncio.AbstractEventLoop, keeper: AsyncGenerator[None]) -> None:
    """Close a keeper on another thread's loop."""
    import anyio.to_thread  # noqa: PLC0415 - rare

    async def close() -> None:
        await keeper.aclose()

    future = asyncio.run_coroutine_threadsafe(close(), loop)
    await anyio.to_thread.run_sync(future.result, 5.0, abandon_on_cancel=True)


def _trio_token() -> Any:
    trio = sys.modules.get("trio")
    if trio is None or not trio.lowlevel.in_trio_run():
        raise RuntimeError("a store's methods run on an event loop: asyncio's or trio's")
    return trio.lowlevel.current_trio_token()


_all: weakref.WeakSet[Live] = weakref.WeakSet()
_parents: list[Any] = []  # never finalised: sockets and loops in it belong to the parent


def _after_fork() -> None:
    for live in list(_all):
        live.forget()


os.register_at_fork(after_in_child=_after_fork)
