"""`open_store`: from a path to a `Store`."""

from __future__ import annotations

import sys
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from asyncstore import registry
from asyncstore.errors import ConfigurationError
from asyncstore.layers import Options, RetryPolicy
from asyncstore.store._live import Live, Recipe
from asyncstore.store._store import Store
from asyncstore.types import Durability, Settings
from asyncstore.url import StoreURL

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from asyncstore.layers import Event
    from asyncstore.url import PathLike


def open_store(
    path: PathLike,
    /,
    *,
    creds: Any = None,
    token: str | None = None,
    hub_url: str | None = None,
    read_only: bool = False,
    endpoint_url: str | None = None,
    region: str | None = None,
    retry: RetryPolicy | None = None,
    concurrency: int = 512,
    deadline: float | None = 300.0,
    durability: Durability = "full",
    checksums: bool = True,
    allow_http: bool = False,
    ca_bundle: str | os.PathLike[str] | None = None,
    trace: Callable[[Event], None] | None = None,
    hedge: bool = False,
) -> Store:
    """Open a path as a `Store`. Nothing is sent until the store is used.

    Args:
        path: `s3://bucket/prefix`, `gcs://…`, `hub://org/name`, `mem://name`, `file:///…`, a
            plain path, or an `os.PathLike`.
        creds: credentials, of any form that the service takes.
        token: for `hub://` paths.
        hub_url: the hub's address.
        read_only: refuse every write before anything is sent.
        endpoint_url: a service's address, in place of its usual one.
        region: the service's region.
        retry: how failed requests are tried again; `RetryPolicy(attempts=1)` is never.
        concurrency: never more reads, and never more writes, than this under way at once; how
            many really are is found by itself.
        deadline: seconds for one request with all its tries and waits; a large transfer is many
            requests. `None` is no limit.
        durability: for local writes: `"full"` flushes each to disk before it is acknowledged,
            `"deferred"` all of them when the store closes.
        checksums: verify and send checksums.
        allow_http: let credentials travel over plain HTTP to a host that is not loopback.
        ca_bundle: a PEM file of certificate authorities, in place of the system's.
        trace: called with a `trace.Event` after every request.
        hedge: ask once more for a read that is slower than 19 of 20 lately were, and take the
            first answer; one more request for each twenty reads at most.

    Raises:
        InvalidPathError: the path means no place; the message says what would be right.
        NotSupportedError: the service's extra is not installed; the message says which.
        ConfigurationError: an option is out of range.
    """
    if durability not in ("full", "deferred"):
        raise ConfigurationError(f"durability={durability!r}: 'full' or 'deferred'")
    url = StoreURL.parse(path)
    registry.connector(url.scheme)
    settings = Settings(
        creds=creds,
        token=token,
        hub_url=hub_url,
        mode="r" if read_only else None,
        endpoint_url=endpoint_url,
        region=region,
        allow_http=allow_http,
        ca_bundle=None if ca_bundle is None else str(ca_bundle),
        checksums=checksums,
        durability=durability,
        # Reads and writes have a limit each, and a read may look something up on its way.
        connections=2 * concurrency + 1,
    )
    options = Options(
        read_only=read_only,
        retry=retry or RetryPolicy(),
        concurrency=concurrency,
        deadline=deadline,
        trace=trace,
        hedge=hedge,
    )
    return store_of(Recipe(url=url, settings=settings, options=options), url, url.prefix)


def store_of(recipe: Recipe, url: StoreURL, prefix: str) -> Store:
    """Make a store from a recipe; what a pickle calls."""
    live = Live(recipe, origin())
    store = Store(live, url, prefix)
    live.belong_to(store)
    return store


def in_mode(store: Store, mode: Literal["r", "w"] | None) -> Store:
    """Return a store like one that was not used yet, which asks its hub for a mode."""
    recipe = store._live.recipe  # noqa: SLF001 - a Store of ours
    settings = recipe.settings.replace(mode=mode)
    return store_of(replace(recipe, settings=settings), store.url, store.prefix)


ORIGIN: ContextVar[str | None] = ContextVar("asyncstore.origin", default=None)
"""The line that is opening a store, where the stack does not show it: it is another thread's."""


def origin() -> str:
    """Name the line outside this library that is opening a store."""
    told = ORIGIN.get()
    if told is not None:
        return told
    frame = sys._getframe(1)  # noqa: SLF001 - the documented way
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_LIBRARY):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


_LIBRARY = "asyncstore."
