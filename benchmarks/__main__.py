"""Measure this library and its peers: `python -m benchmarks`.

    python -m benchmarks                       everything, three processes each; about 15 minutes
    python -m benchmarks --works get-4k,put-4k --peers asyncstore,obstore --repeat 5
    python -m benchmarks --quick               one process each
    python -m benchmarks --keep --works get-8m   that work anew, the others as they were
    python -m benchmarks --update              and put the tables into the pages, see there
    python -m benchmarks --render --update     nothing anew, only the pages from results.json

Needs the extra `bench` (`pip install -e '.[bench]'`), and nginx and wrk (`apt-get install
nginx-light wrk`).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict

from benchmarks import goals
from benchmarks.cores import ALL, CLIENT, on, pinned
from benchmarks.peers import PEERS, can
from benchmarks.report import Row, machine, markdown, plot, save_json, with_earlier
from benchmarks.servers import Place, serving
from benchmarks.works import WORKS, Work

_HERE = os.path.dirname(os.path.abspath(__file__))
_DOCS = os.path.join(os.path.dirname(_HERE), "docs", "why")
_PAGES = (os.path.join(_HERE, "README.md"), os.path.join(_DOCS, "speed.md"))
_BEGIN, _END = "<!-- results: begin -->\n", "<!-- results: end -->\n"


def measure(peer: str, work: Work, place: Place) -> dict:
    """Run one peer on one work in a process of its own."""
    asked = json.dumps({"peer": peer, "work": work.name, "place": asdict(place)})
    environ = {
        name: value
        for name, value in os.environ.items()
        if not name.upper().endswith("_PROXY") and not name.startswith("AWS_")
    }
    environ |= {"AWS_EC2_METADATA_DISABLED": "true", "PYTHONPATH": os.path.dirname(_HERE)}
    if place.ca:
        environ |= {"SSL_CERT_FILE": place.ca}
    busy = os.getloadavg()[0]
    with on(CLIENT if work.pinned else ALL):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.run", asked],
            capture_output=True,
            check=False,
            text=True,
            env=environ,
            timeout=600,
        )
    if not done.stdout.startswith("{"):
        raise RuntimeError(f"status {done.returncode}: {done.stderr[-2000:]}")
    # Some clients abort the interpreter on its way out, with all the work done.
    return json.loads(done.stdout.splitlines()[0]) | {"load": busy}


def choose(given: str | None, known: list[str]) -> list[str]:
    """Read a list of names; a name that holds a comma is matched as a whole."""
    if given is None:
        return known
    chosen = [name for name in known if f",{name}," in f",{given},"]
    if not chosen:
        raise SystemExit(f"none of {given!r} is known; there are: {'; '.join(known)}")
    return chosen


def update(text: str) -> None:
    """Put the tables between the marks in the README and in the docs."""
    for path in _PAGES:
        with open(path, encoding="utf-8") as file:
            old = file.read()
        head, rest = old.split(_BEGIN)
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"{head}{_BEGIN}{text}{_END}{rest.split(_END)[1]}")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--works", help="names, with commas between")
    parser.add_argument("--peers", help="names, with commas between")
    parser.add_argument("--repeat", type=int, default=3, help="processes for each peer and work")
    parser.add_argument("--quick", action="store_true", help="the same as --repeat 1")
    parser.add_argument("--out", default=os.path.join(_HERE, "results"), help="a folder")
    parser.add_argument("--keep", action="store_true", help="keep earlier results of the rest")
    parser.add_argument("--render", action="store_true", help="measure nothing")
    parser.add_argument("--update", action="store_true", help="put the tables into the pages")
    asked = parser.parse_args()
    names = choose(asked.works, [work.name for work in WORKS])
    peers = choose(asked.peers, list(PEERS))
    runs: dict[tuple[str, str], list[dict]] = {}
    failed: list[str] = []
    for work in (work for work in WORKS if work.name in names and not asked.render):
        with serving(work) as place:
            # In turn, so that what else the machine does falls on all alike.
            for turn in range(1 if asked.quick else asked.repeat):
                for peer in (peer for peer in peers if can(peer, work)):
                    print(f"{work.name}, {turn + 1}: {peer} … ", end="", flush=True)
                    try:
                        run = measure(peer, work, place)
                    except (RuntimeError, subprocess.TimeoutExpired) as error:
                        failed.append(f"{work.name}: {peer}: {str(error).strip()[-300:]}")
                        print(f"FAILED: {str(error).strip()[-200:]}")
                        continue
                    runs.setdefault((work.name, peer), []).append(run)
                    print(", ".join(f"{seconds * 1000:.0f} ms" for seconds, _ in run["rounds"]))
    rows = [Row(work, peer, found) for (work, peer), found in runs.items()]
    if asked.keep or asked.render:
        rows = with_earlier(rows, os.path.join(asked.out, "results.json"))
    text = f"Measured on {machine()}; {pinned()}.\n\n{goals.markdown(rows)}\n{markdown(rows)}\n"
    if failed:
        text += "Failed:\n\n" + "".join(f"- `{line!r}`\n" for line in dict.fromkeys(failed)) + "\n"
    print("\n" + text)
    os.makedirs(asked.out, exist_ok=True)
    save_json(rows, os.path.join(asked.out, "results.json"))
    plot(rows, os.path.join(asked.out, "results.svg"))
    if asked.update:
        update(text)
        shutil.copy(os.path.join(asked.out, "results.svg"), os.path.join(_DOCS, "speed.svg"))


if __name__ == "__main__":
    main()
