"""Where a transfer is: counted as it goes on, and told to whoever asked, some times a second."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from asyncstore.transfer.report import Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncstore.transfer.report import Report

_EVERY = 0.1  # seconds between two calls about the progress


class Telling:
    """What there is to tell of a transfer.

    Args:
        report: of the transfer, as it fills.
        tell: is called with the progress; `None` where nobody asked.
        width: says how many objects may be under way now.

    Attributes:
        files: objects that are settled.
        bytes: that have arrived.
        under_way: objects that are being worked on.
        flying: says how many others are, which nobody needs to work on.
        planned: the plan is complete.
    """

    def __init__(
        self, report: Report, tell: Callable[[Progress], None] | None, width: Callable[[], int]
    ) -> None:
        self._report = report
        self._call = tell
        self._width = width
        self._began = time.monotonic()
        self._told = 0.0
        self._told_failures = 0
        self.files = self.bytes = self.under_way = 0
        self.flying: Callable[[], int] = lambda: 0
        self.planned = False

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began

    def came(self, count: int) -> None:
        """Count bytes that arrived, or, less than none, that will come again."""
        self.bytes += count
        if self._call is not None:
            self.tell()

    def settle(self, count: int = 1) -> None:
        """Count objects that are done with."""
        self.files += count
        self.tell()

    def tell(self, *, always: bool = False, ended: bool = False) -> None:
        """Tell, unless that was done a moment ago.

        Args:
            always: this is to be known, also if it was.
            ended: so is this, with the report.
        """
        if self._call is None:
            return
        now = time.monotonic()
        if now - self._told < _EVERY and not (always or ended):
            return
        self._told = now
        self._call(self._progress(now, ended=ended))

    def _progress(self, now: float, *, ended: bool) -> Progress:
        report = self._report
        news = report.failures[self._told_failures :]
        self._told_failures = len(report.failures)
        return Progress(
            files=self.files,
            files_total=report.plan.files,
            bytes=self.bytes,
            bytes_total=report.plan.bytes,
            failed=len(report.failures),
            seconds=now - self._began,
            under_way=self.under_way + self.flying(),
            width=self._width(),
            plan=report.plan if self.planned else None,
            failures=news,
            report=report if ended else None,
        )
