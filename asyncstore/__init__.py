"""asyncstore: an async-first storage client for datasets.

Names are loaded on first use: `import asyncstore` loads no service's SDK, starts no thread and
opens no socket.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from collections.abc import Sequence

    # For type checkers, the same names as below; a test compares them.
    from asyncstore.batch import Batch as Batch
    from asyncstore.batch import Outcome as Outcome
    from asyncstore.datasets import Dataset as Dataset
    from asyncstore.datasets import connect as connect
    from asyncstore.datasets import copy as copy
    from asyncstore.datasets import dataset as dataset
    from asyncstore.datasets import delete as delete
    from asyncstore.datasets import empty as empty
    from asyncstore.datasets import exists as exists
    from asyncstore.datasets import list as list  # noqa: A004 - the old client's name
    from asyncstore.datasets import load as load
    from asyncstore.datasets import make_private as make_private
    from asyncstore.datasets import make_public as make_public
    from asyncstore.datasets import rename as rename
    from asyncstore.errors import AlreadyExistsError as AlreadyExistsError
    from asyncstore.errors import BatchError as BatchError
    from asyncstore.errors import ConfigurationError as ConfigurationError
    from asyncstore.errors import DatasetCorruptError as DatasetCorruptError
    from asyncstore.errors import DatasetError as DatasetError
    from asyncstore.errors import DatasetExistsError as DatasetExistsError
    from asyncstore.errors import DatasetLockedError as DatasetLockedError
    from asyncstore.errors import DatasetNotFoundError as DatasetNotFoundError
    from asyncstore.errors import DeadlineError as DeadlineError
    from asyncstore.errors import IntegrityError as IntegrityError
    from asyncstore.errors import InvalidPathError as InvalidPathError
    from asyncstore.errors import InvalidSpanError as InvalidSpanError
    from asyncstore.errors import NotFoundError as NotFoundError
    from asyncstore.errors import NotSupportedError as NotSupportedError
    from asyncstore.errors import ObjectChangedError as ObjectChangedError
    from asyncstore.errors import PermissionDeniedError as PermissionDeniedError
    from asyncstore.errors import PreconditionError as PreconditionError
    from asyncstore.errors import ReadOnlyError as ReadOnlyError
    from asyncstore.errors import StoreError as StoreError
    from asyncstore.errors import ThrottledError as ThrottledError
    from asyncstore.errors import TransientError as TransientError
    from asyncstore.errors import UnauthenticatedError as UnauthenticatedError
    from asyncstore.errors import UnavailableError as UnavailableError
    from asyncstore.layers import RetryPolicy as RetryPolicy
    from asyncstore.store import Store as Store
    from asyncstore.store import open_store as open_store
    from asyncstore.types import Blob as Blob
    from asyncstore.types import ObjectMeta as ObjectMeta
    from asyncstore.types import Span as Span
    from asyncstore.url import StoreURL as StoreURL

_HOMES = {
    "batch": ("Batch", "Outcome"),
    "datasets": (
        "Dataset",
        "connect",
        "copy",
        "dataset",
        "delete",
        "empty",
        "exists",
        "list",
        "load",
        "make_private",
        "make_public",
        "rename",
    ),
    "errors": (
        "AlreadyExistsError",
        "BatchError",
        "ConfigurationError",
        "DatasetCorruptError",
        "DatasetError",
        "DatasetExistsError",
        "DatasetLockedError",
        "DatasetNotFoundError",
        "DeadlineError",
        "IntegrityError",
        "InvalidPathError",
        "InvalidSpanError",
        "NotFoundError",
        "NotSupportedError",
        "ObjectChangedError",
        "PermissionDeniedError",
        "PreconditionError",
        "ReadOnlyError",
        "StoreError",
        "ThrottledError",
        "TransientError",
        "UnauthenticatedError",
        "UnavailableError",
    ),
    "layers": ("RetryPolicy",),
    "store": ("Store", "open_store"),
    "types": ("Blob", "ObjectMeta", "Span"),
    "url": ("StoreURL",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = ["__version__", *sorted(_HOME)]  # noqa: PLE0604 - names all


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(import_module(f"asyncstore.{_HOME[name]}"), name)
    elif name in ("sync", "testing"):
        value = import_module(f"asyncstore.{name}")
    else:
        raise AttributeError(f"module 'asyncstore' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> Sequence[str]:
    return sorted({*globals(), *_HOME})
