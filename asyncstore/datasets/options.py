"""The keywords that all dataset functions share, and those of the old client that none has yet.

What says how a service is reached goes on to `open_store` as it is. A keyword that nobody knows
is a `TypeError`. One that the old client knows is accepted where it asks for what happens anyway,
and is otherwise a `NotSupportedError` that says what to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, cast

from asyncstore.datasets import hubs
from asyncstore.errors import ConfigurationError, NotSupportedError
from asyncstore.store import open_store
from asyncstore.store._open import in_mode
from asyncstore.types import Settings
from asyncstore.url import StoreURL

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

    from asyncstore.layers import Event, RetryPolicy
    from asyncstore.providers.hub.managed import ManagedCreds
    from asyncstore.store import Store
    from asyncstore.types import Durability
    from asyncstore.url import PathLike


class Reach(TypedDict, total=False):
    """How a path's service is reached, as in `open_store`; every dataset function takes these."""

    endpoint_url: str | None
    region: str | None
    retry: RetryPolicy | None
    concurrency: int
    deadline: float | None
    durability: Durability
    checksums: bool
    allow_http: bool
    ca_bundle: str | os.PathLike[str] | None
    trace: Callable[[Event], None] | None
    hedge: bool


class Access(Reach, total=False):
    """`Reach`, and who it is that reaches."""

    creds: Any
    token: str | None
    org_id: str | None
    hub_url: str | None
    mode: Literal["r", "w"] | None


class Old(TypedDict, total=False):
    """Keywords of Deep Lake 3.9 that are taken only with the values that change nothing."""

    access_method: str
    check_integrity: bool | None
    index_params: Any
    indra: bool
    local_cache_size: int | None
    memory_cache_size: int | None
    public: bool
    reset: bool
    runtime: Any
    scheduler: str
    tensors: Any
    unlink: bool


class Keywords(Reach, Old, total=False):
    """What the functions take that open, create and copy."""


@dataclass(frozen=True, slots=True)
class _Known:
    harmless: tuple[Any, ...]
    instead: str


_LATER = "this version has no tensors yet"
_CACHE = "leave it out: nothing is cached"
_OLD = {
    "access_method": _Known(("stream",), "copy() the dataset to a local path and load that"),
    "check_integrity": _Known((None, False), _LATER),
    "index_params": _Known((None,), _LATER),
    "indra": _Known((False,), "leave it out"),
    "local_cache_size": _Known((None, 0), _CACHE),
    "memory_cache_size": _Known((None, 0, 2000), _CACHE),
    "public": _Known((False,), "a hub makes data sets public; elsewhere the bucket's own settings"),
    "reset": _Known((False,), "reset it with Deep Lake 3.9"),
    "runtime": _Known((None,), "leave it out: there is no database engine"),
    "scheduler": _Known(("threaded", "serial"), "leave it out, and set num_workers"),
    "tensors": _Known((None,), _LATER),
    "unlink": _Known((False,), _LATER),
}

LOAD: tuple[str, ...] = (
    "access_method",
    "check_integrity",
    "index_params",
    "indra",
    "local_cache_size",
    "memory_cache_size",
    "reset",
    "unlink",
)
EMPTY = ("index_params", "local_cache_size", "memory_cache_size", "public", "runtime")
DATASET = tuple(sorted({*LOAD, *EMPTY}))
COPY = ("public", "runtime", "scheduler", "tensors")


_REACH = frozenset(Reach.__optional_keys__)


def reach(
    function: str,
    given: Mapping[str, Any],
    known: tuple[str, ...] = (),
    /,
    *,
    names: frozenset[str] = _REACH,
) -> Reach:
    """Return the keywords that are for `open_store`; refuse those that would be ignored.

    Args:
        function: whose keywords they are.
        given: name to value.
        known: the names that the old client's function of this name takes.
        names: those for `open_store` that the function takes.

    Raises:
        TypeError: a name is neither among `known` nor among `names`.
        NotSupportedError: a value asks for what is not there; the message says what to do.
    """
    kept: dict[str, Any] = {}
    for name, value in given.items():
        if name in names:
            kept[name] = value
            continue
        if name not in known:
            hint = "; it goes into src_options= or dest_options=" if name in _REACH else ""
            raise TypeError(f"{function}() got an unexpected keyword argument {name!r}{hint}")
        rule = _OLD[name]
        # Not `in`: 0 == False, and a NumPy array compares element by element.
        if not any(type(value) is type(fine) and value == fine for fine in rule.harmless):
            raise NotSupportedError(f"{function}({name}=…) is not supported: {rule.instead}")
    return cast("Reach", kept)


def opener(**access: Unpack[Access]) -> Callable[[PathLike], Store]:
    """Return what opens a path as a store, as its service is to be reached.

    Raises:
        ConfigurationError: `creds={"creds_key": …}` with other keys, or without `org_id`.
    """
    keywords = {name: value for name, value in access.items() if name not in ("org_id", "mode")}
    managed = _managed(access)
    if managed is not None:
        keywords["creds"] = managed
    mode = access.get("mode")

    def opened(path: PathLike) -> Store:
        url = StoreURL.parse(path)
        hubs.check(url)
        if managed is not None and url.scheme not in ("s3", "gcs"):
            raise ConfigurationError(
                f"creds={{'creds_key': …}} is for s3:// and gcs:// paths, not for {url}; a hub "
                "finds the key of its own data sets by itself"
            )
        store = open_store(path, **cast("Any", keywords))
        return in_mode(store, mode) if mode is not None and url.scheme == "hub" else store

    return opened


def _managed(access: Access) -> ManagedCreds | None:
    """Return the source of credentials that an organisation stored at a hub, where it is meant."""
    creds, org_id = access.get("creds"), access.get("org_id")
    if not (isinstance(creds, dict) and "creds_key" in creds):
        return None
    if len(creds) > 1:
        raise ConfigurationError("creds={'creds_key': …} takes no other keys")
    if not org_id:
        raise ConfigurationError("creds={'creds_key': …} needs org_id=, whose key it is")
    from asyncstore.providers.hub.managed import (  # noqa: PLC0415 - loads the HTTP engine
        ManagedCreds,
    )

    bundle = access.get("ca_bundle")
    settings = Settings(
        token=access.get("token"),
        hub_url=access.get("hub_url"),
        endpoint_url=access.get("endpoint_url"),
        allow_http=access.get("allow_http", False),
        ca_bundle=None if bundle is None else str(bundle),
    )
    return ManagedCreds(org_id, creds["creds_key"], settings)
