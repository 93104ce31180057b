"""Where a dataset's own files are: the first commit's at the root, others under `versions/`."""

from __future__ import annotations

import re

FIRST_COMMIT = "firstdbf9474d461a19e9333c2fd19b46115348f"
"""The commit whose files are at the dataset's root; every dataset begins with it."""

HISTORY = "version_control_info.json"
HISTORY_PICKLED = "version_control_info"
"""Very old datasets keep their history in a pickle of this name, which is never read."""

META = "dataset_meta.json"
LOCK = "dataset_lock.lock"
HISTORY_LOCK = "version_control_info.lock"

LOCKS = frozenset({LOCK, HISTORY_LOCK, "linked_creds.lock", "queries.lock"})
"""Last parts of keys that belong to whoever writes now, not to the dataset."""

_COMMIT = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9_.\-]{1,128}")


def is_commit_id(text: object, /) -> bool:
    """Whether `text` may name a commit, and so a folder under `versions/`."""
    return isinstance(text, str) and _COMMIT.fullmatch(text) is not None


def folder(commit: str, /) -> str:
    """Return what precedes a commit's keys: `""`, or `"versions/<commit>/"`."""
    return "" if commit == FIRST_COMMIT else f"versions/{commit}/"


def meta_key(commit: str = FIRST_COMMIT, /) -> str:
    """Return the key of a commit's `dataset_meta.json`."""
    return folder(commit) + META


def lock_key(commit: str = FIRST_COMMIT, /) -> str:
    """Return the key of the lock that a writer of a commit holds."""
    return folder(commit) + LOCK


def is_lock(key: str, /) -> bool:
    """Whether a key below a dataset is a lock: of a moment, not part of what is kept."""
    return key.rpartition("/")[2] in LOCKS
