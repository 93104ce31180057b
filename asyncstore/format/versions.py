"""`version_control_info.json`: the tree of commits, and the commit each branch stands at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from asyncstore.errors import DatasetCorruptError
from asyncstore.format.fields import (
    COUNT,
    FLAG,
    MAPPING,
    OBJECTS,
    TEXT,
    TEXT_OR_NULL,
    TEXTS,
    TIME,
    Fields,
    dump,
    parse_object,
)
from asyncstore.format.keys import FIRST_COMMIT, HISTORY, is_commit_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asyncstore.types import Buffer

MAIN = "main"
"""The branch that every dataset begins with."""


@dataclass(frozen=True, slots=True)
class Commit:
    """One node of the tree; the last of a branch, not committed yet, is its head.

    Attributes:
        branch: the branch it was made on.
        parent: the commit before it; `None` for the first alone.
        children: the commits after it.
        message: what the committer wrote, or `None`.
        time: when it was committed, in epoch seconds; `None` for a head.
        user: who committed it, or `None`.
        is_checkpoint: whether a running transform made it.
        samples_processed: how far that transform was.
        extra: fields that this release does not know, kept as they are.
    """

    branch: str = MAIN
    parent: str | None = None
    children: tuple[str, ...] = ()
    message: str | None = None
    time: float | None = None
    user: str | None = None
    is_checkpoint: bool = False
    samples_processed: int = 0
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_head(self) -> bool:
        """Whether it can still be written to."""
        return self.time is None and not self.children


@dataclass(frozen=True, slots=True)
class History:
    """A dataset's commits and branches.

    Attributes:
        commits: from id to commit; the first commit is always there.
        branches: from a branch's name to the commit it stands at.
        extra: fields that this release does not know, kept as they are.
    """

    commits: Mapping[str, Commit] = field(default_factory=lambda: {FIRST_COMMIT: Commit()})
    branches: Mapping[str, str] = field(default_factory=lambda: {MAIN: FIRST_COMMIT})
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, data: Buffer, /) -> History:
        """Read the file's bytes.

        Raises:
            DatasetCorruptError: says what is wrong; also where the tree is none.
        """
        fields = Fields(parse_object(data, HISTORY), HISTORY)
        commits = {
            name: _commit(name, node) for name, node in fields.take("commits", OBJECTS).items()
        }
        history = cls(commits, fields.take("branches", MAPPING), fields.rest())
        _check_tree(history)
        return history

    def dump(self) -> bytes:
        """Write the file's bytes, as Deep Lake 3.9.52 does."""
        commits = {name: _json(commit) for name, commit in self.commits.items()}
        known = {"commits": commits, "branches": dict(self.branches)}
        return dump({**known, **self.extra}, pretty=False)

    def find(self, address: str, /) -> str | None:
        """Return the commit that a branch's name, or else a commit's id, stands for."""
        if address in self.branches:
            return self.branches[address]
        return address if address in self.commits else None


def _commit(name: str, node: dict[str, Any]) -> Commit:
    if not is_commit_id(name):
        raise DatasetCorruptError(f"{HISTORY}: {name[:80]!r} is no commit's id")
    fields = Fields(node, f"{HISTORY}, commit {name}")
    return Commit(
        branch=fields.take("branch", TEXT),
        parent=fields.take("parent", TEXT_OR_NULL, None),
        children=tuple(fields.take("children", TEXTS)),
        message=fields.take("commit_message", TEXT_OR_NULL, None),
        time=fields.take("commit_time", TIME, None),
        user=fields.take("commit_user_name", TEXT_OR_NULL, None),
        is_checkpoint=fields.take("is_checkpoint", FLAG, False),
        samples_processed=fields.take("total_samples_processed", COUNT, 0),
        extra=fields.rest(),
    )


def _json(commit: Commit) -> dict[str, Any]:
    return {
        "branch": commit.branch,
        "parent": commit.parent,
        "children": commit.children,
        "commit_message": commit.message,
        "commit_time": commit.time,
        "commit_user_name": commit.user,
        "is_checkpoint": commit.is_checkpoint,
        "total_samples_processed": commit.samples_processed,
        **commit.extra,
    }


def _check_tree(history: History) -> None:
    """Walk from the first commit; each must be met once, under the parent that it names.

    Deep Lake leaves commits of deleted branches behind, so what is not met is no error; but a
    branch must stand at a commit that is.
    """
    commits, met = history.commits, set[str]()
    waiting: list[tuple[str, str | None]] = [(FIRST_COMMIT, None)]
    while waiting:
        name, parent = waiting.pop()
        commit = commits.get(name)
        if commit is None:
            raise DatasetCorruptError(f"{HISTORY} lacks commit {name[:80]!r}")
        if name in met or commit.parent != parent:
            raise DatasetCorruptError(f"{HISTORY}: commit {name!r} has two parents")
        met.add(name)
        waiting += [(child, name) for child in commit.children]
    if not history.branches:
        raise DatasetCorruptError(f"{HISTORY} has no branch")
    for branch, head in history.branches.items():
        if head not in met:
            raise DatasetCorruptError(
                f"{HISTORY}: branch {branch[:80]!r} stands at {head[:80]!r}, which is no commit"
            )
