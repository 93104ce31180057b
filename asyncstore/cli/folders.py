"""Folders through the engine of transfers: what `cp -r`, `sync`, `verify` and `demo` share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncstore.cli.output import Output
    from asyncstore.cli.output import Progress as Bar
    from asyncstore.cli.places import Place
    from asyncstore.store import Store
    from asyncstore.transfer import Progress, Report


def below(store: Store, place: Place) -> Store:
    """Return the store of a folder, given the store that the place is in."""
    return store.child(place.key) if place.key else store


async def carry(
    output: Output, source: Store, target: Store, title: str, *, plan: bool = True, **how: Any
) -> Report:
    """Run the engine between two folders, with its progress shown.

    Args:
        output: where the progress goes.
        source: read from.
        target: written to.
        title: what is being done.
        plan: say what is to be done, before it is.
        how: as `asyncstore.store._transfers.transfer` takes it.
    """
    from asyncstore.store._transfers import transfer  # noqa: PLC0415 - help needs no store

    with output.progress(title) as bar:
        move = moving(bar)
        said = not plan

        def tell(now: Progress) -> None:
            nonlocal said
            if not said and now.plan is not None:
                said = True
                output.remark(f"plan: {now.plan}", {"type": "plan", **now.plan.as_dict()})
            move(now)

        return await transfer(source, target, title, progress=tell, **how)


def moving(bar: Bar) -> Callable[[Progress], None]:
    """Return what moves a bar as a transfer goes on."""
    done = total = 0

    def move(now: Progress) -> None:
        nonlocal done, total
        bar.expect(now.bytes_total - total)
        bar.advance(now.bytes - done)
        done, total = now.bytes, now.bytes_total

    return move
