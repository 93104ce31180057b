"""Progress for people: a bar in a terminal, a widget in a notebook."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from asyncstore.transfer.report import Events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from asyncstore.transfer.report import Progress


@contextmanager
def ended(
    progress: bool | Callable[[Progress], None],  # noqa: FBT001 - the user's own argument
) -> Iterator[None]:
    """End a stream of events, whatever ends the transfer or keeps it from beginning."""
    try:
        yield
    finally:
        if isinstance(progress, Events):
            progress.end()


@contextmanager
def shown(
    progress: bool | Callable[[Progress], None],  # noqa: FBT001 - the user's own argument
    title: str,
) -> Iterator[Callable[[Progress], None] | None]:
    """Return what is to be told of the progress.

    Args:
        progress: `True` for a bar, or what is called; a stream is ended by `ended`.
        title: what is being done.
    """
    if not isinstance(progress, bool):
        yield progress
    elif not progress:
        yield None
    else:
        from tqdm.auto import tqdm  # noqa: PLC0415 - 30 ms, and only people see it

        with tqdm(desc=title, unit="B", unit_scale=True, unit_divisor=1024) as bar:
            yield lambda now: _move(bar, now)


def _move(bar: Any, now: Progress) -> None:
    if bar.disable:
        return
    if bar.total != now.bytes_total:
        # A notebook's bar learns how long it is in this way alone.
        began = bar.start_t
        bar.reset(now.bytes_total)
        bar.start_t = began
    bar.n = now.bytes
    files = f"{now.files:,}/{now.files_total:,} files"
    bar.set_postfix_str(f"{files}, {now.failed:,} failed" if now.failed else files)
