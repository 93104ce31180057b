"""The on-disk format of datasets (Deep Lake v3): bytes in, values out; no I/O, no clock.

What is read here may come from anybody. Whatever is wrong with it is a `DatasetCorruptError`;
nothing is unpickled, and fields that this version does not know survive a rewrite.
"""

from __future__ import annotations

from asyncstore.format.keys import FIRST_COMMIT, lock_key, meta_key
from asyncstore.format.lock import LockRecord
from asyncstore.format.meta import DatasetMeta
from asyncstore.format.versions import Commit, History

__all__ = [
    "FIRST_COMMIT",
    "Commit",
    "DatasetMeta",
    "History",
    "LockRecord",
    "lock_key",
    "meta_key",
]
