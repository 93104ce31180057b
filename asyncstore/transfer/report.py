"""What a transfer does: its plan, where it is, and what it did."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import anyio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncstore.errors import StoreError


@dataclass(frozen=True, slots=True)
class Failure:
    """One object that was not transferred.

    Attributes:
        key: relative to both sides.
        error: why.
    """

    key: str
    error: StoreError

    def as_dict(self) -> dict[str, str]:
        """Return it as JSON values."""
        return {"key": self.key, "error": type(self.error).__name__, "why": str(self.error)}


@dataclass(slots=True)
class Plan:
    """What is to be done, as numbers of objects.

    Attributes:
        copy: are not at the target, or are another version.
        compare: are there, and nobody knows yet whether their content is the same.
        skip: are there, and verified.
        delete: are at the target alone, and are to go.
        refuse: cannot be at the target.
        bytes: of those to copy or compare.
    """

    copy: int = 0
    compare: int = 0
    skip: int = 0
    delete: int = 0
    refuse: int = 0
    bytes: int = 0

    @property
    def files(self) -> int:
        """How many objects take part."""
        return self.copy + self.compare + self.skip + self.delete + self.refuse

    def as_dict(self) -> dict[str, int]:
        """Return it as JSON values."""
        return {
            "copy": self.copy,
            "compare": self.compare,
            "skip": self.skip,
            "delete": self.delete,
            "refuse": self.refuse,
            "bytes": self.bytes,
        }

    def __str__(self) -> str:
        text = f"{self.copy:,} to copy, {self.skip:,} are there"
        for count, what in (
            (self.compare, "to compare"),
            (self.delete, "to delete"),
            (self.refuse, "cannot be there"),
        ):
            if count:
                text += f", {count:,} {what}"
        return f"{text}, {self.bytes / (1 << 20):,.1f} MiB"


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a transfer is.

    Attributes:
        files: objects that are settled: copied, found to be there, deleted or failed.
        files_total: objects that take part, as far as is known; final once there is a `plan`.
        bytes: of the objects that are settled, and of those under way what has arrived.
        bytes_total: of the objects that are to be copied or compared.
        failed: objects that failed so far.
        seconds: since the beginning.
        under_way: objects that are being worked on.
        width: how many may be under way now: as many as both sides bear, found by trying.
        plan: what is to be done; `None` while both sides are being listed.
        failures: those since the last call.
        report: at the end, what was done; else `None`.
    """

    files: int
    files_total: int
    bytes: int
    bytes_total: int
    failed: int
    seconds: float
    under_way: int
    width: int
    plan: Plan | None = None
    failures: Sequence[Failure] = ()
    report: Report | None = None

    @property
    def rate(self) -> float:
        """Bytes per second so far."""
        return self.bytes / self.seconds if self.seconds else 0.0


class Events:
    """A transfer's progress as an async stream; give it as `progress`, and iterate beside.

    It ends with the transfer. Whoever is slow gets the latest state, with all failures since the
    one before: nothing piles up, and the transfer never waits.
    """

    def __init__(self) -> None:
        self._now: Progress | None = None
        self._more = anyio.Event()
        self._ended = False

    def __call__(self, now: Progress, /) -> None:
        """Take the next state, from the transfer."""
        if self._now is not None:
            now = replace(now, failures=[*self._now.failures, *now.failures])
        self._now = now
        self._more.set()

    def end(self) -> None:
        """Take no more; called by the transfer, whatever ended it."""
        self._ended = True
        self._more.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Progress:
        """Return where the transfer is, when that is news."""
        while self._now is None:
            if self._ended:
                raise StopAsyncIteration
            await self._more.wait()
            if not self._ended:
                self._more = anyio.Event()
        now, self._now = self._now, None
        return now


@dataclass(slots=True)
class Report:
    """What a transfer did.

    Attributes:
        copied: objects that were written, and verified.
        skipped: objects that were there already, and verified.
        deleted: objects that were removed from the target.
        moved: objects that were removed from the source, as the target has them.
        resumed: large objects that went on where an earlier run had stopped.
        bytes: that were copied.
        seconds: that it took.
        retries: requests that were made again, by anybody who used the stores meanwhile.
        failures: an entry for each object that failed.
        plan: what was to be done, in numbers.
        planned: with `dry_run`, what would have been done: verb and key.
    """

    copied: int = 0
    skipped: int = 0
    deleted: int = 0
    moved: int = 0
    resumed: int = 0
    bytes: int = 0
    seconds: float = 0.0
    retries: int = 0
    failures: list[Failure] = field(default_factory=list)
    plan: Plan = field(default_factory=Plan)
    planned: list[tuple[str, str]] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not self.failures

    @property
    def rate(self) -> float:
        """Bytes that were copied, per second."""
        return self.bytes / self.seconds if self.seconds else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "copied": self.copied,
            "skipped": self.skipped,
            "deleted": self.deleted,
            "moved": self.moved,
            "resumed": self.resumed,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
            "rate": round(self.rate),
            "retries": self.retries,
            "failed": [failure.as_dict() for failure in self.failures],
            "plan": self.plan.as_dict(),
            "planned": [list(step) for step in self.planned],
        }

    def __str__(self) -> str:
        rate = self.rate / (1 << 20)
        text = (
            f"{self.copied:,} copied, {self.skipped:,} were there, "
            f"{self.bytes / (1 << 20):,.1f} MiB in {self.seconds:.1f} s ({rate:,.0f} MiB/s)"
        )
        for count, what in (
            (self.deleted, "deleted"),
            (self.moved, "moved"),
            (self.resumed, "resumed"),
            (self.retries, "retries"),
            (len(self.failures), "failed"),
        ):
            if count:
                text += f", {count:,} {what}"
        return text
