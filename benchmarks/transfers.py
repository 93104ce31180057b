"""Measure folders and batches: `python -m benchmarks.transfers`.

    python -m benchmarks.transfers                    everything; about 15 minutes
    python -m benchmarks.transfers download-4k tail   these questions alone
    python -m benchmarks.transfers --update           and put the tables into TRANSFERS.md

Each question is asked of every client in turn, each time in a fresh process, with the server
(`crowd.py`) on one core and the client on another. Figures are medians; what counts are the ratios
within one run. Needs the extra `bench`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.crowd import Crowd
from benchmarks.report import machine
from benchmarks.servers import _end, _ports, _wait

if TYPE_CHECKING:
    from collections.abc import Iterator

_HERE = os.path.dirname(os.path.abspath(__file__))
_BEGIN, _END = "<!-- results: begin -->\n", "<!-- results: end -->\n"


@dataclass(frozen=True)
class Question:
    """What is asked of some clients.

    Attributes:
        name: on the command line.
        title: above the table.
        crowd: what is served, and how.
        clients: names of functions of `clients_of_transfers`, with their arguments.
        note: the goal.
        repeat: how often each is asked.
    """

    name: str
    title: str
    crowd: Crowd
    clients: dict[str, tuple[str, dict[str, Any]]]
    note: str = ""
    repeat: int = 3


_LATE = Crowd(count=20_000, size=16 << 10, latency=0.025, room=500)
_WIDTHS = (256, 512, 1024)
_DOWNLOADS = {
    "asyncstore": ("download", {}),
    "s5cmd": ("s5cmd", {}),
    "s5cmd run": ("s5cmd_run", {}),
    "boto3, TransferManager": ("boto3_transfer", {}),
    "boto3, TransferManager, 64 threads": ("boto3_transfer", {"threads": 64}),
}
QUESTIONS = [
    Question(
        "download-4k",
        "Download 4,000 × 4 KiB to disk",
        Crowd(count=4000, size=4 << 10),
        _DOWNLOADS | {"asyncstore, uvloop": ("download", {"uvloop": True})},
        "Goal: at least 8 × s5cmd, and 5 × boto3.",
        repeat=5,
    ),
    Question(
        "download-8m",
        "Download 64 × 8 MiB to disk",
        Crowd(count=64, size=8 << 20),
        _DOWNLOADS | {"asyncstore, uvloop": ("download", {"uvloop": True})},
        "Goal: at most s5cmd's time.",
    ),
    Question(
        "latency",
        "Read 20,000 × 16 KiB: 25 ms latency, room for 500 requests",
        _LATE,
        {
            "asyncstore, no width told": ("get_many", {}),
            **{f"asyncstore, width {n}": ("get_many", {"width": n}) for n in _WIDTHS},
            "obstore, plain gather": ("obstore_gather", {}),
        },
        "Goal: within 1.5 × of the best fixed width, and at least 3 × obstore.",
    ),
    Question(
        "throttled",
        "Read 20,000 × 16 KiB: 25 ms latency, refused above 200 at once",
        Crowd(count=20_000, size=16 << 10, latency=0.025, bears=200),
        {
            "asyncstore, no width told": ("get_many", {}),
            "asyncstore, width 200": ("get_many", {"width": 200}),
            "obstore, plain gather": ("obstore_gather", {}),
        },
        "Goal: at least 90 % of the capacity, that of exactly 200; less than 5 % refused.",
    ),
    Question(
        "tail",
        "Read 10,000 × 16 KiB: 5 ms latency, one request in 200 takes a second",
        Crowd(count=10_000, size=16 << 10, latency=0.005, room=500, tail=200, slow=1.0),
        {
            "asyncstore": ("get_many", {"width": 64}),
            "asyncstore, hedged": ("get_many", {"width": 64, "hedge": True}),
        },
        "What hedging the slowest reads brings.",
    ),
    Question(
        "memory",
        "Read 100,000 × 1 KiB through `get_many`",
        Crowd(count=100_000, size=1 << 10),
        {"asyncstore": ("get_many", {})},
        "Goal: at most 64 MiB above the baseline.",
        repeat=1,
    ),
    Question(
        "rerun",
        "Download 100,000 × 4 KiB, and run it again",
        Crowd(count=100_000, size=4 << 10),
        {"asyncstore": ("rerun", {})},
        "Goal: the rerun ends within 5 % of the first run's time.",
        repeat=1,
    ),
]


@contextlib.contextmanager
def served(crowd: Crowd) -> Iterator[str]:
    """Serve a crowd from a process on the last core; give its address."""
    [port] = _ports(1)
    command = [sys.executable, "-m", "benchmarks.crowd", str(port), json.dumps(asdict(crowd))]
    process = subprocess.Popen([*_pinned(-1), *command], stderr=subprocess.DEVNULL)
    try:
        _wait(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        _end(process)


def _pinned(which: int) -> list[str]:
    cores = sorted(os.sched_getaffinity(0))
    return ["taskset", "-c", str(cores[which])] if len(cores) > 1 else []


def load() -> str:
    """Return the load averages."""
    return ", ".join(f"{one:.1f}" for one in os.getloadavg())


def _counts(url: str) -> dict[str, int]:
    with urllib.request.urlopen(f"{url}/counts") as answer:
        return json.load(answer)


def ask(url: str, question: Question, client: str) -> dict[str, Any]:
    """Run a client once; return what it measured, and what the server counted."""
    call, how = question.clients[client]
    before = _counts(url)
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        told = {"call": call, "how": how, "url": url, "folder": folder}
        told |= {"count": question.crowd.count, "size": question.crowd.size}
        environ = {
            name: value
            for name, value in os.environ.items()
            if not name.upper().endswith("_PROXY") and not name.startswith("AWS_")
        }
        environ |= {
            "AWS_EC2_METADATA_DISABLED": "true",
            "PYTHONPATH": os.path.dirname(_HERE),
            "XDG_STATE_HOME": f"{folder}/state",
        }
        command = [sys.executable, "-m", "benchmarks.clients_of_transfers", json.dumps(told)]
        done = subprocess.run(
            [*_pinned(0), *command],
            capture_output=True,
            check=False,
            text=True,
            env=environ,
            timeout=300,
        )
    if not done.stdout.startswith("{"):
        raise RuntimeError(f"{client}: status {done.returncode}: {done.stderr[-1500:]}")
    after = _counts(url)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[0])
    found["refused"] = after["refused"] - before["refused"]
    found["answered"] = after["answered"] - before["answered"]
    return found


def answer(question: Question) -> list[dict[str, Any]]:
    """Ask every client, in turn; return the median of each."""
    runs: dict[str, list[dict[str, Any]]] = {client: [] for client in question.clients}
    with served(question.crowd) as url:
        for turn in range(question.repeat):
            for client, found in runs.items():
                print(f"{question.name}, {turn + 1}: {client} … ", end="", flush=True)
                found.append(ask(url, question, client))
                print(f"{found[-1]['seconds']:.2f} s")
    return [
        {"client": client}
        | {name: statistics.median(run[name] for run in found) for name in found[0]}
        for client, found in runs.items()
    ]


def table(question: Question, rows: list[dict[str, Any]]) -> str:
    """Return a question's table, fastest first."""
    ours = rows[0]["seconds"]
    known = {
        "rate": ("Objects/s", lambda row: f"{question.crowd.count / row['seconds']:,.0f}"),
        "cpu": ("CPU", lambda row: f"{row['cpu']:.2f} s"),
        "refused": ("Refused", lambda row: f"{100 * row['refused'] / asked(row):.1f} %"),
        "peak": ("Peak memory", lambda row: f"{row['peak'] / 2**20:.0f} MiB"),
        "again": (
            "Rerun",
            lambda row: f"{row['again']:.2f} s, {100 * row['again'] / row['seconds']:.1f} %",
        ),
        "requests": ("Requests", lambda row: f"{row['answered']:,.0f}"),
    }

    def asked(row: dict[str, Any]) -> float:
        return max(1, row["refused"] + row["answered"])

    shown = ["rate", "cpu", *(name for name in ("peak", "again") if name in rows[0])]
    if question.crowd.bears:
        shown.append("refused")
    if question.crowd.tail:
        shown.append("requests")
    lines = [
        f"**{question.title}** (`{question.name}`). {question.note}",
        "",
        "| Client | Time | × ours | " + " | ".join(known[name][0] for name in shown) + " |",
        "|---|---:|---:|" + "---:|" * len(shown),
    ]
    for row in sorted(rows, key=lambda row: row["seconds"]):
        label = f"**{row['client']}**" if row["client"].startswith("async") else row["client"]
        cells = " | ".join(known[name][1](row) for name in shown)
        ratio = row["seconds"] / ours
        lines.append(f"| {label} | {row['seconds']:.2f} s | {ratio:.2f} | {cells} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.transfers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    known = {question.name: question for question in QUESTIONS}
    parser.add_argument("questions", nargs="*", help=", ".join(known))
    parser.add_argument("--update", action="store_true", help="put the tables into TRANSFERS.md")
    asked = parser.parse_args()
    results = os.path.join(_HERE, "results", "transfers.json")
    os.makedirs(os.path.dirname(results), exist_ok=True)
    kept: dict[str, Any] = {}
    if os.path.exists(results):
        with open(results, encoding="utf-8") as file:
            kept = json.load(file)
    for name in asked.questions or known:
        before = load()
        rows = answer(known[name])
        kept[name] = {"rows": rows, "machine": machine(), "load": f"{before} to {load()}"}
        print(f"\n{table(known[name], rows)}")
        with open(results, "w", encoding="utf-8") as file:
            json.dump(kept, file, indent=1)
    if asked.update:
        update(kept)


def update(kept: dict[str, Any]) -> None:
    """Put the tables of what was measured, now or earlier, into TRANSFERS.md."""
    tables = [
        f"{table(question, kept[question.name]['rows'])}\n"
        f"{kept[question.name]['machine']}; load averages {kept[question.name]['load']}.\n"
        for question in QUESTIONS
        if question.name in kept
    ]
    path = os.path.join(_HERE, "TRANSFERS.md")
    with open(path, encoding="utf-8") as file:
        old = file.read()
    head, rest = old.split(_BEGIN)
    with open(path, "w", encoding="utf-8") as file:
        text = "\n".join(tables)
        file.write(f"{head}{_BEGIN}{text}{_END}{rest.split(_END)[1]}")


if __name__ == "__main__":
    main()
