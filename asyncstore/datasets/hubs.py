"""What dataset functions ask of a hub itself, with the retries and the deadline of the store.

Everything here does nothing, or says no, where a store is not of a hub.
"""

from __future__ import annotations

import json
import os
import re
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from asyncstore.errors import (
    ConfigurationError,
    InvalidPathError,
    NotFoundError,
    PermissionDeniedError,
    StoreError,
)
from asyncstore.layers import Retried
from asyncstore.provider import ability
from asyncstore.types import Op
from asyncstore.url import StoreURL

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, MutableMapping

    from asyncstore.format import DatasetMeta
    from asyncstore.providers.hub import HubProvider
    from asyncstore.store import Store
    from asyncstore.url import PathLike

T = TypeVar("T")

_HUB = re.compile(r"hub://", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z0-9_\-]+")


def is_hub(path: PathLike, /) -> bool:
    """Whether a path is of a hub, be it right or wrong."""
    if isinstance(path, StoreURL):
        return path.scheme == "hub"
    text = os.fspath(path)
    return isinstance(text, str) and isinstance(path, str) and _HUB.match(text) is not None


def check(url: StoreURL, /) -> None:
    """Refuse a hub's path that names no data set.

    Raises:
        InvalidPathError: says what a data set's path is.
    """
    if url.scheme == "hub" and not _NAME.fullmatch(url.path):
        raise InvalidPathError(
            f"{str(url)!r} names no data set: write hub://organisation/name, with letters, "
            "digits, '_' and '-'; a version behind an '@' is for load() and dataset()"
        )


def visibility(path: PathLike, keywords: MutableMapping[str, Any], /) -> bool:
    """Take `public` out of a function's keywords where the path is a hub's, and return it.

    Raises:
        ConfigurationError: it is neither `True` nor `False`.
    """
    if not is_hub(path):
        return False  # `options.reach` refuses it
    public = keywords.pop("public", False)
    if not isinstance(public, bool):
        raise ConfigurationError(f"public={public!r}: True or False")
    return public


async def register(store: Store, meta: DatasetMeta, /, *, op: str, public: bool) -> None:
    """Tell the hub of a data set that is about to be written.

    Raises:
        PermissionDeniedError: no data set may be made there by this token.
    """
    if store.url.scheme != "hub":
        return

    async def call(hub: HubProvider) -> None:
        grant = await hub.granted()
        client = await hub.client()
        await client.register(
            hub.organization,
            hub.dataset,
            json.loads(meta.dump()),
            public=public,
            repository=grant.repository,
        )

    await check_rights(store, op=op)
    await _ask(store, op, call)


async def forget(store: Store, /, *, op: str) -> bool:
    """Have the hub forget a data set; return whether it knew of it."""
    if store.url.scheme != "hub":
        return False

    async def call(hub: HubProvider) -> None:
        await (await hub.client()).forget(hub.organization, hub.dataset)

    try:
        await _ask(store, op, call)
    except NotFoundError:
        return False
    return True


async def rename(store: Store, name: str, /) -> None:
    """Give a data set another name; its objects stay where they are.

    Raises:
        AlreadyExistsError: the name is taken.
    """

    async def call(hub: HubProvider) -> None:
        await (await hub.client()).rename(hub.organization, hub.dataset, name)

    await _ask(store, "rename", call, idempotent=False)


async def publish(store: Store, /, *, op: str, public: bool) -> None:
    """Let everybody read a data set, or members only."""

    async def call(hub: HubProvider) -> None:
        await (await hub.client()).publish(hub.organization, hub.dataset, public=public)

    await _ask(store, op, call)


async def names(store: Store, /) -> list[str]:
    """Return the names of the data sets in a store's organisation that one may see, sorted."""

    async def call(hub: HubProvider) -> list[str]:
        return await (await hub.client()).names(hub.organization)

    return await _ask(store, "list", call, write=False)


async def connect(store: Store, source: str, name: str | None, creds_key: str) -> str:
    """Enter a data set into a store's organisation; return its `"organisation/name"`."""

    async def call(hub: HubProvider) -> str:
        client = await hub.client()
        return await client.connect(source, hub.organization, name, creds_key)

    return await _ask(store, "connect", call, idempotent=False)


async def check_rights(store: Store, /, *, op: str) -> None:
    """Return if the hub lets a data set be written to, or if there is no hub to ask.

    Raises:
        PermissionDeniedError: it lets it be read only.
    """
    if store.url.scheme != "hub":
        return

    async def call(hub: HubProvider) -> str:
        return (await hub.granted()).mode

    if await _ask(store, op, call, write=False) == "r":
        raise PermissionDeniedError("the hub lets this token read here, and not write").at(
            op, str(store.url)
        )


async def _ask(
    store: Store,
    op: str,
    call: Callable[[HubProvider], Coroutine[Any, Any, T]],
    *,
    write: bool = True,
    idempotent: bool = True,
) -> T:
    """Make a call where the provider lives, tried again as the store's own calls are."""
    from asyncstore.providers.hub import HubProvider  # noqa: PLC0415 - loads the HTTP engine

    provider = store.provider
    hub, retried = ability(provider, HubProvider), ability(provider, Retried)
    assert hub is not None and retried is not None  # noqa: S101, PT018 - a hub's store has both
    try:
        return await retried.around(
            Op(op, hub.dataset, write=write, idempotent=idempotent),
            partial(store._live.there, partial(call, hub)),  # noqa: SLF001 - a Store of ours
        )
    except StoreError as error:
        raise error.at(op, str(store.url)) from None
