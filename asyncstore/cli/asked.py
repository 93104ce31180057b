"""What `cp` and `mv` are asked to do, and how they say what they did."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from asyncstore.cli.text import count, human

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asyncstore.cli.output import Output
    from asyncstore.types import ObjectMeta


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How to copy or move.

    Attributes:
        output: told of each object, of failures and of the sum.
        move: delete the source once the target is verified.
        if_absent: create only.
        dry_run: say what would be done, and do nothing.
        width: most objects under way at once; `None` finds what pays.
        choices: which of a folder's objects take part, as `transfer` takes them.
    """

    output: Output
    move: bool = False
    if_absent: bool = False
    dry_run: bool = False
    width: int | None = None
    choices: Mapping[str, Any] = field(default_factory=dict)

    @property
    def op(self) -> str:
        """What it is called: `copy` or `move`."""
        return "move" if self.move else "copy"

    @property
    def done(self) -> str:
        """What was done then: `copied` or `moved`."""
        return "moved" if self.move else "copied"

    def say(self, source: str, target: str, meta: ObjectMeta) -> None:
        """Say that an object was copied or moved."""
        self.output.remark(
            f"{source} -> {target}",
            {
                "type": self.done,
                "source": source,
                "target": target,
                "size": meta.size,
                "etag": meta.etag,
            },
        )

    def plan(self, verb: str, source: str, target: str | None) -> None:
        """Say what would be done with an object; without a target it is there already."""
        text = f"{verb} {source}" if target is None else f"{verb} {source} -> {target}"
        record = {"type": "planned", "verb": verb, "source": source, "target": target}
        self.output.result(text, record)


@dataclass(slots=True)
class Tally:
    """What was done: numbers of objects, and the bytes of those that were written."""

    objects: int = 0
    bytes: int = 0
    skipped: int = 0
    resumed: int = 0
    retries: int = 0
    failed: int = 0

    def say(self, asked: Asked, seconds: float) -> None:
        """Say the sum, after so long."""
        rate = f", {human(round(self.bytes / seconds))}/s" if self.bytes and seconds else ""
        text = f"{asked.done} {count(self.objects, 'object')}, {human(self.bytes)}, "
        text += f"in {seconds:.1f} s{rate}"
        for number, what in (
            (self.skipped, "were there"),
            (self.resumed, "resumed"),
            (self.retries, "retries"),
            (self.failed, "failed"),
        ):
            text += f"; {number:,} {what}" if number else ""
        asked.output.remark(
            text,
            {
                "type": asked.done,
                "objects": self.objects,
                "bytes": self.bytes,
                "skipped": self.skipped,
                "resumed": self.resumed,
                "retries": self.retries,
                "failed": self.failed,
                "seconds": round(seconds, 3),
            },
        )
