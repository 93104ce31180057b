"""What a transfer did, while it does it and at its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a transfer is.

    Attributes:
        files: objects that are settled: copied, found to be there, deleted or failed.
        files_total: objects that take part.
        bytes: of the objects that are settled, and of those under way what has arrived.
        bytes_total: of the objects that are to be copied or compared.
        failed: objects that failed so far.
        seconds: since the beginning.
        width: objects that are under way.
    """

    files: int
    files_total: int
    bytes: int
    bytes_total: int
    failed: int
    seconds: float
    width: int

    @property
    def rate(self) -> float:
        """Bytes per second so far."""
        return self.bytes / self.seconds if self.seconds else 0.0


@dataclass(slots=True)
class Report:
    """What a transfer did.

    Attributes:
        copied: objects that were written, and verified.
        skipped: objects that were there already, and verified.
        deleted: objects that were removed from the target.
        resumed: large objects that went on where an earlier run had stopped.
        bytes: that were copied.
        seconds: that it took.
        retries: requests that were made again, by anybody who used the stores meanwhile.
        failures: an entry for each object that failed.
        planned: with `dry_run`, what would have been done: verb and key.
    """

    copied: int = 0
    skipped: int = 0
    deleted: int = 0
    resumed: int = 0
    bytes: int = 0
    seconds: float = 0.0
    retries: int = 0
    failures: list[Failure] = field(default_factory=list)
    planned: list[tuple[str, str]] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not self.failures

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "copied": self.copied,
            "skipped": self.skipped,
            "deleted": self.deleted,
            "resumed": self.resumed,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
            "retries": self.retries,
            "failed": [failure.as_dict() for failure in self.failures],
            "planned": [list(step) for step in self.planned],
        }

    def __str__(self) -> str:
        rate = self.bytes / self.seconds / (1 << 20) if self.seconds else 0.0
        text = (
            f"{self.copied:,} copied, {self.skipped:,} were there, "
            f"{self.bytes / (1 << 20):,.1f} MiB in {self.seconds:.1f} s ({rate:,.0f} MiB/s)"
        )
        for count, what in (
            (self.deleted, "deleted"),
            (self.resumed, "resumed"),
            (self.retries, "retries"),
            (len(self.failures), "failed"),
        ):
            if count:
                text += f", {count:,} {what}"
        return text
