"""Transfers in processes of their own, to be killed.

Reads a JSON object a line, forks a child that does what it says, and prints the child's process
id and, when it has ended, its status. The child leaves its report in a file.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import sys
import traceback
from pathlib import Path

import aiobotocore.session  # noqa: F401 - once, not in every child

from asyncstore import open_store
from asyncstore.providers import gcs, hub, s3  # noqa: F401
from asyncstore.store._transfers import transfer as moved
from asyncstore.transfer import large, one
from asyncstore.transfer.record import Record


def dies(count, *, early):
    """Be killed when so many parts were recorded, or, early, just before the last of them is."""
    part = Record.part
    turns = itertools.count(1)  # parts are recorded in several threads

    def record(self, *what):
        turn = next(turns)
        if turn < count or not early:
            part(self, *what)
        if turn >= count:
            os.kill(os.getpid(), signal.SIGKILL)

    Record.part = record  # type: ignore[method-assign]


async def transfer(told):
    if told.get("parts"):
        dies(told["parts"], early=told.get("early", False))
    one.SMALL, large.PART = told["small"], told["part"]
    async with open_store(told["path"], **told["options"]) as store:
        if told["way"] == "download":
            report = await store.download("data", told["folder"])
        elif told["way"] == "move":
            async with open_store(told["folder"], durability="deferred") as folder:
                report = await moved(folder, store / "data", "moved", move=True)
        elif told["way"] == "sync":
            async with open_store(told["to"], **told["to_options"]) as target:
                report = await store.sync(target)
        else:
            report = await store.upload(told["folder"], "data")
    return json.dumps(report.as_dict())


def child(told):
    try:
        report = asyncio.run(transfer(told))
        Path(told["report"]).write_text(report, encoding="utf-8")
    except BaseException:  # noqa: BLE001 - the child ends here
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


for line in sys.stdin:
    pid = os.fork()
    if not pid:
        child(json.loads(line))
    sys.stdout.write(f"{pid}\n")
    sys.stdout.write(f"{os.waitpid(pid, 0)[1]}\n")
