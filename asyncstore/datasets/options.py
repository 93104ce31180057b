"""The keywords that all dataset functions share, and those of the old client that none has yet.

A keyword that nobody knows is a `TypeError`. One that the old client knows is accepted where it
asks for what happens anyway, and is otherwise a `NotSupportedError` that says what to do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from asyncstore.errors import ConfigurationError, NotSupportedError
from asyncstore.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from asyncstore.store import Store
    from asyncstore.url import PathLike


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
    "public": _Known((False,), "only a hub makes a dataset public, or the bucket's own settings"),
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


def check_old(function: str, given: Old, known: tuple[str, ...], /) -> None:
    """Refuse keywords that would be ignored.

    Args:
        function: whose keywords they are.
        given: name to value.
        known: the names that the old client's function of this name takes.

    Raises:
        TypeError: a name is not among `known`.
        NotSupportedError: a value asks for what is not there; the message says what to do.
    """
    for name, value in given.items():
        if name not in known:
            raise TypeError(f"{function}() got an unexpected keyword argument {name!r}")
        rule = _OLD[name]
        # Not `in`: 0 == False, and a NumPy array compares element by element.
        if not any(type(value) is type(fine) and value == fine for fine in rule.harmless):
            raise NotSupportedError(f"{function}({name}=…) is not supported: {rule.instead}")


@dataclass(frozen=True, slots=True)
class Reach:
    """What `open_store` takes, in place of `creds`, for callers with more to say than a user has.

    Attributes:
        keywords: of `open_store`; what is said here is all that is said.
    """

    keywords: Mapping[str, Any] = field(repr=False)


class Access(TypedDict, total=False):
    """How a path's service is reached; every dataset function takes these."""

    creds: Any
    token: str | None
    org_id: str | None
    hub_url: str | None


def opener(**access: Unpack[Access]) -> Callable[[PathLike], Store]:
    """Return what opens a path as a store with the given credentials.

    Raises:
        ConfigurationError: `creds={"creds_key": …}` with other keys, or without `org_id`.
        NotSupportedError: `creds={"creds_key": …}`, which needs a hub.
    """
    org_id, creds = access.get("org_id"), access.get("creds")
    if isinstance(creds, dict) and "creds_key" in creds:
        if len(creds) > 1:
            raise ConfigurationError("creds={'creds_key': …} takes no other keys")
        if not org_id:
            raise ConfigurationError("creds={'creds_key': …} needs org_id=, whose key it is")
        raise NotSupportedError("creds={'creds_key': …} needs a hub, which is not served yet")

    def opened(path: PathLike) -> Store:
        if isinstance(creds, Reach):
            return open_store(path, **creds.keywords)
        return open_store(
            path, creds=creds, token=access.get("token"), hub_url=access.get("hub_url")
        )

    return opened
