"""The results as a table in text, as Markdown, as JSON and as a plot."""

from __future__ import annotations

import json
import os
import platform
import statistics
from typing import Any

from benchmarks.works import BY_NAME, GiB, MiB


class Row:
    """What a peer needed for a work, in the median of its rounds.

    Attributes:
        load: the machine's one-minute load average when a process began, at most; ours included.
    """

    def __init__(self, work: str, peer: str, runs: list[dict[str, Any]]) -> None:
        self.work = BY_NAME[work]
        self.peer = peer
        rounds = [tuple(one) for run in runs for one in run["rounds"]]
        self.seconds = statistics.median(seconds for seconds, _ in rounds)
        self.best = min(seconds for seconds, _ in rounds)
        self.worst = max(seconds for seconds, _ in rounds)
        self.cpu = statistics.median(spent for _, spent in rounds)
        self.peak = max(run["peak"] for run in runs)
        self.rounds = len(rounds)
        self.processes = len(runs)
        self.load = max(run["load"] for run in runs)

    @property
    def rate(self) -> str:
        work = self.work
        if work.size >= MiB:
            return f"{work.count * work.size / self.seconds / GiB:.2f} GiB/s"
        return f"{work.count / self.seconds:,.0f}/s"

    @property
    def cost(self) -> str:
        work = self.work
        if work.size >= MiB:
            return f"{self.cpu / (work.count * work.size / GiB):.2f} s/GiB"
        return f"{self.cpu / work.count * 1e6:,.1f} µs each"

    def as_json(self) -> dict[str, Any]:
        return {
            "work": self.work.name,
            "peer": self.peer,
            "seconds": self.seconds,
            "best": self.best,
            "worst": self.worst,
            "cpu_seconds": self.cpu,
            "peak_bytes": self.peak,
            "rounds": self.rounds,
            "processes": self.processes,
            "load": self.load,
        }

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Row:
        row = cls.__new__(cls)
        row.work, row.peer = BY_NAME[told["work"]], told["peer"]
        row.seconds, row.best, row.worst = told["seconds"], told["best"], told["worst"]
        row.cpu, row.peak, row.rounds = told["cpu_seconds"], told["peak_bytes"], told["rounds"]
        row.processes, row.load = told["processes"], told["load"]
        return row


def markdown(rows: list[Row]) -> str:
    """Return a table for each work, with the ratio of each peer's time to ours."""
    out = []
    for name in dict.fromkeys(row.work.name for row in rows):
        mine = [row for row in rows if row.work.name == name]
        ours = next((row.seconds for row in mine if row.peer == "asyncstore"), None)
        processes, load = max(row.processes for row in mine), max(row.load for row in mine)
        out += [
            f"**{mine[0].work.note}** (`{name}`; processes each: {processes}; load: {load:.1f})",
            "",
            "| Client | Median time | Least to most | × ours | Rate | CPU | Peak memory |",
            "|---|---:|---:|---:|---:|---:|---:|",
        ]
        for row in sorted(mine, key=lambda row: row.seconds):
            ratio = f"{row.seconds / ours:.2f}" if ours else ""
            label = f"**{row.peer}**" if row.peer.startswith("asyncstore") else row.peer
            out.append(
                f"| {label} | {row.seconds * 1000:,.0f} ms "
                f"| {row.best * 1000:,.0f} to {row.worst * 1000:,.0f} | {ratio} | {row.rate} "
                f"| {row.cost} | {row.peak / MiB:,.0f} MiB |"
            )
        out.append("")
    return "\n".join(out)


def machine() -> str:
    """Say where this was measured."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    model = names[0] if names else platform.machine()
    return f"{len(names)} × {model}, {platform.system()}, Python {platform.python_version()}"


def with_earlier(rows: list[Row], path: str) -> list[Row]:
    """Add what was measured earlier, if anything, and was not measured again."""
    if not os.path.exists(path):
        return rows
    with open(path, encoding="utf-8") as file:
        old = [Row.from_json(told) for told in json.load(file)["rows"] if told["work"] in BY_NAME]
    new = {(row.work.name, row.peer) for row in rows}
    kept = [row for row in old if (row.work.name, row.peer) not in new]
    order = list(BY_NAME)
    return sorted([*rows, *kept], key=lambda row: order.index(row.work.name))


def save_json(rows: list[Row], path: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"machine": machine(), "rows": [row.as_json() for row in rows]}, file, indent=1)
        file.write("\n")


def plot(rows: list[Row], path: str) -> None:
    """Draw each peer's time against ours, on a logarithmic scale: right of 1 is slower."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "asyncstore"
    from matplotlib import pyplot as plt

    names = list(dict.fromkeys(row.work.name for row in rows))
    peers = sorted({row.peer for row in rows})
    colours = {peer: plt.get_cmap("tab20")(index) for index, peer in enumerate(peers)}
    height = sum(sum(row.work.name == name for row in rows) + 1.6 for name in names)
    figure, axes = plt.subplots(figsize=(9, 0.22 * height + 1))
    y = 0.0
    ticks, labels = [], []
    for name in names:
        mine = sorted((r for r in rows if r.work.name == name), key=lambda r: r.seconds)
        ours = next((row.seconds for row in mine if row.peer == "asyncstore"), None)
        if ours is None:
            continue
        axes.text(0.012, y, mine[0].work.note, fontsize=8, fontweight="bold", va="center")
        y += 1
        for row in mine:
            axes.barh(y, row.seconds / ours, height=0.8, color=colours[row.peer])
            axes.text(
                row.seconds / ours * 1.04, y, f"{row.seconds / ours:.2f}", fontsize=6.5, va="center"
            )
            ticks.append(y)
            labels.append(row.peer)
            y += 1
        y += 0.6
    axes.set_yticks(ticks, labels, fontsize=7)
    axes.set_xscale("log")
    axes.set_xlim(left=0.01)
    axes.invert_yaxis()
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("time, as a multiple of asyncstore's (logarithmic; less is faster)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
