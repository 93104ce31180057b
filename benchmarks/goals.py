"""What was meant to be reached, and whether it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from benchmarks.works import BY_NAME, MiB

if TYPE_CHECKING:
    from benchmarks.report import Row

_OURS = {
    "asyncstore": "asyncio",
    "asyncstore, uvloop": "uvloop",
    "asyncstore, get_many": "`get_many`",
    "asyncstore, get_many, uvloop": "`get_many`, uvloop",
}
"""Which of ours is compared, and what its column is called."""


class Goal(NamedTuple):
    """A ratio to a peer: `figure` of the peer, divided by ours, is to be at least `least`."""

    work: str
    peer: str
    least: float
    figure: str = "time"


GOALS = [
    Goal("get-4k", "obstore", 5),
    Goal("get-4k", "obstore, threads", 2.5),
    Goal("get-4k", "aiobotocore", 30),
    Goal("get-4k", "wrk", 0.4),
    Goal("get-4k-free", "obstore", 5),
    Goal("get-4k-free", "obstore, threads", 2.5),
    Goal("get-4k-free", "aiobotocore", 30),
    Goal("get-4k-free", "wrk", 0.4),
    Goal("put-4k", "obstore", 2),
    Goal("put-4k", "aiobotocore", 15),
    Goal("put-4k", "obstore", 1 / 0.4, "CPU"),
    Goal("put-4k-free", "obstore", 2),
    Goal("put-4k-free", "aiobotocore", 15),
    Goal("put-4k-free", "obstore", 1 / 0.4, "CPU"),
    Goal("get-8m", "obstore", 1),
    Goal("get-8m", "obstore", 1 / 0.85, "CPU"),
    Goal("get-1g", "obstore", 1.2),
    Goal("get-4k-tls", "obstore", 1),
    Goal("get-8m-tls", "obstore", 1),
    Goal("get-1g-tls", "obstore", 1),
    Goal("put-1g", "obstore", 1.2),
    Goal("put-1g", "boto3, threads", 1.2),
    Goal("list-100k", "aiobotocore", 3),
    Goal("list-100k", "obstore", 1),
]
_MEMORY = 32 * MiB
"""What one large read may take beside the caller's buffer."""


def markdown(rows: list[Row]) -> str:
    """Return a table of the goals whose works and peers were measured."""
    known = {(row.work.name, row.peer): row for row in rows}
    columns = " | ".join(_OURS.values())
    out = [f"| Work | Goal | {columns} | |", f"|---|---|{'---:|' * len(_OURS)}---|"]
    for goal in GOALS:
        theirs = known.get((goal.work, goal.peer))
        if theirs is None:
            continue
        ratios = [_ratio(known.get((goal.work, ours)), theirs, goal.figure) for ours in _OURS]
        said = f"{goal.peer}'s {goal.figure} at least {goal.least:.3g} × ours"
        here = [f"{ratio:.2f} ×" if ratio else "" for ratio in ratios]
        reached = {
            name: ratio >= goal.least
            for name, ratio in zip(_OURS.values(), ratios, strict=True)
            if ratio
        }
        out.append(_line(goal.work, said, here, reached))
    large = known.get(("get-1g", "asyncstore"))
    if large is not None:
        more = large.peak - large.work.size
        said = f"peak memory at most the buffer and {_MEMORY // MiB} MiB"
        here = f"{max(more, 0) / MiB:.0f} MiB more"
        cells = [here, *[""] * (len(_OURS) - 1)]
        out.append(_line("get-1g", said, cells, {"asyncio": more <= _MEMORY}))
    return "\n".join([*out, ""])


def _ratio(ours: Row | None, theirs: Row, figure: str) -> float:
    if ours is None:
        return 0.0
    return theirs.seconds / ours.seconds if figure == "time" else theirs.cpu / ours.cpu


def _line(work: str, goal: str, here: list[str], reached: dict[str, bool]) -> str:
    if all(reached.values()):
        verdict = "reached"
    elif any(reached.values()):
        verdict = "reached on " + ", ".join(name for name, yes in reached.items() if yes)
    else:
        verdict = "**missed**"
    return f"| {BY_NAME[work].note} | {goal} | {' | '.join(here)} | {verdict} |"
