"""Datasets: a folder of objects with a history, on any service, in the format of Deep Lake v3."""

from __future__ import annotations

from asyncstore.datasets.connecting import connect
from asyncstore.datasets.copying import copy
from asyncstore.datasets.deleting import delete
from asyncstore.datasets.handle import Dataset
from asyncstore.datasets.listing import list  # noqa: A004 - the old client's name
from asyncstore.datasets.opening import dataset, empty, exists, load
from asyncstore.datasets.publishing import make_private, make_public
from asyncstore.datasets.renaming import rename

__all__ = [
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
]
