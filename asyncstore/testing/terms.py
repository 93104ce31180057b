"""The terms of the contract: what a subclass may say of its service, and small tools."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import anyio
import pytest

from asyncstore.errors import NotFoundError, NotSupportedError, StoreError
from asyncstore.types import WHOLE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator

    from asyncstore.provider import Provider
    from asyncstore.types import ObjectMeta, Span

T = TypeVar("T")


class Terms:
    """What the suites share. Subclasses give a `provider` fixture and, where their service
    has quirks, say so in the attributes below; each narrows one promise and no other.
    """

    lacks: ClassVar[Collection[str]] = ()
    """What the service cannot do, of `"put if_match"`, `"put if_absent"`, `"upload if_match"`,
    `"upload if_absent"`, `"copy if_match"`, `"copy if_absent"` and `"metadata"`. The tests then
    demand a `NotSupportedError` and an untouched object, never a silent overwrite.
    """

    key_beside_folder: ClassVar[bool] = True
    """Whether `k` and `k/sub` can both be. Where not, the second is a `NotSupportedError`."""

    refused_keys: ClassVar[Collection[str]] = ()
    """Keys of the matrix that the service cannot hold; each must be refused by a typed error."""

    many: ClassVar[int] = 2_500
    """How many objects the long listing has; more than two pages of 1,000."""

    creators: ClassVar[int] = 16
    """How many writers race in each test of a condition."""

    @pytest.fixture
    def anyio_backend(self) -> Any:
        """The event loop: asyncio. For trio too, override: `@pytest.fixture(params=["asyncio",
        "trio"])`, returning `request.param`.
        """
        return "asyncio"

    @pytest.fixture
    def root(self) -> str:
        """Every key of a test begins so; the bucket may hold other objects."""
        return f"contract-{secrets.token_hex(6)}/"

    async def open_uploads(self, provider: Provider, root: str) -> int | None:
        """Return how many unfinished uploads below `root` the service keeps; `None`: not known."""
        del provider, root
        return None

    @contextmanager
    def may_lack(self, ability: str) -> Iterator[None]:
        """Expect `NotSupportedError` from the body where the service lacks the ability."""
        if ability in self.lacks:
            with pytest.raises(NotSupportedError):
                yield
        else:
            yield


async def read(provider: Provider, key: str, span: Span = WHOLE) -> bytes:
    """Return an object's bytes."""
    return bytes(await provider.get(key, span=span))


async def exists(provider: Provider, key: str) -> bool:
    """Return whether there is an object."""
    try:
        await provider.head(key)
    except NotFoundError:
        return False
    return True


async def everything(provider: Provider, prefix: str, **options: Any) -> list[ObjectMeta]:
    """List every object below a prefix."""
    found: list[ObjectMeta] = []
    cursor: str | None = None
    while True:
        page = await provider.list_page(prefix, cursor=cursor, **options)
        found += page.objects
        cursor = page.cursor
        if cursor is None:
            return found


async def names(provider: Provider, prefix: str, **options: Any) -> list[str]:
    """List the keys below a prefix, in the service's order."""
    return [meta.key for meta in await everything(provider, prefix, **options)]


async def at_once(
    calls: Iterable[Callable[[], Awaitable[T]]], *, width: int = 16
) -> list[T | StoreError]:
    """Run calls concurrently; return results or `StoreError`s in their order."""
    todo = list(calls)
    done: list[Any] = [None] * len(todo)
    waiting = iter(range(len(todo)))

    async def work() -> None:
        for n in waiting:
            try:
                done[n] = await todo[n]()
            except StoreError as error:
                done[n] = error

    async with anyio.create_task_group() as tasks:
        for _ in range(min(width, len(todo))):
            tasks.start_soon(work)
    return done


def succeeded(results: Iterable[T | StoreError]) -> list[T]:
    """Return the results that are no errors."""
    return [result for result in results if not isinstance(result, StoreError)]


def pattern(size: int, seed: int = 0) -> bytes:
    """Return bytes in which every position shows: a shift or a swap changes them."""
    words = (n.to_bytes(4, "big") for n in range(seed, seed + size // 4 + 1))
    return b"".join(words)[:size]
