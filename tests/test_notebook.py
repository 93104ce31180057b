"""A notebook: cells run inside a running event loop, and need no await."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CELLS = {
    "the loop runs": "import asyncio; asyncio.get_running_loop().is_running()",
    "write and read": """
import asyncstore.sync as a
store = a.open_store("./photos")
store.put("cats/tom", b"meow", if_absent=True)
bytes(store.get("cats/tom"))""",
    "list": "[meta.key for meta in store.list()]",
    "errors": """
try:
    store.get("cats/absent")
except a.NotFoundError as error:
    print(type(error).__name__)""",
    "with await too": """
import asyncstore
async with asyncstore.open_store("./photos") as other:
    print(bytes(await other.get("cats/tom")))""",
    "close": "store.close()",
}
PRINTED = {
    "the loop runs": "True",
    "write and read": "b'meow'",
    "list": "['cats/tom']",
    "errors": "NotFoundError\n",
    "with await too": "b'meow'\n",
    "close": "",
}


EXECUTE = "from nbclient.cli import main; main()"


def jupyter(*words, cwd: Path):
    environment = os.environ | {
        "IPYTHONDIR": str(cwd / "ipython"),
        "JUPYTER_PLATFORM_DIRS": "1",
        "HOME": str(cwd),
    }
    return subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def shown(cell) -> str:
    """Return what a cell printed and what it is worth."""
    assert all(output["output_type"] != "error" for output in cell["outputs"])
    texts = [
        output.get("text") or output["data"]["text/plain"]
        for output in cell["outputs"]
        if output.get("name") != "stderr"
    ]
    return "".join(part for text in texts for part in text)


def executed(folder: Path, sources: Mapping[str, str]):
    """Run cells in a notebook of their own; return it."""
    notebook = {
        "cells": [
            {
                "cell_type": "code",
                "id": name.replace(" ", "-"),
                "execution_count": None,
                "metadata": {},
                "outputs": [],
                "source": source.strip(),
            }
            for name, source in sources.items()
        ],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    (folder / "book.ipynb").write_text(json.dumps(notebook))
    ended = jupyter("-c", EXECUTE, "--inplace", "book.ipynb", cwd=folder)
    assert ended.returncode == 0, ended.stderr
    return json.loads((folder / "book.ipynb").read_text())


def test_a_notebook_needs_no_await(tmp_path: Path):
    cells = executed(tmp_path, CELLS)["cells"]
    assert {name: shown(cell) for name, cell in zip(CELLS, cells, strict=True)} == PRINTED
    assert (tmp_path / "photos" / "cats" / "tom").read_bytes() == b"meow"


WATCHED = {
    "write": """
import asyncstore, asyncstore.sync as a
store = a.open_store("./photos")
for n in range(5):
    store.put(f"cats/{n}", b"meow" * 250)
""",
    "without await": 'store.download("cats", "./one", progress=True).copied',
    "with await": """
async with asyncstore.open_store("./photos") as other:
    report = await other.download("cats", "./two", progress=True)
report.copied""",
    "a loop": """
with a.watch(store.download, "cats", "./three") as events:
    for now in events:
        pass
print(now.files, now.bytes, events.report.copied)""",
}


def test_a_notebook_shows_how_far_a_transfer_is(tmp_path: Path):
    book = executed(tmp_path, WATCHED)
    told = book["metadata"]["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    cells = dict(zip(WATCHED, book["cells"], strict=True))
    for name in ("without await", "with await"):
        bar, worth = cells[name]["outputs"]
        assert worth["data"]["text/plain"] == ["5"]
        shown_as = told[bar["data"]["application/vnd.jupyter.widget-view+json"]["model_id"]]
        parts = [told[each.removeprefix("IPY_MODEL_")] for each in shown_as["state"]["children"]]
        title, bar, text = (part["state"] for part in parts)
        assert title["value"].startswith("download")
        assert (bar["value"], bar["max"], bar["bar_style"]) == (5000.0, 5000.0, "success")
        assert told[bar["layout"].removeprefix("IPY_MODEL_")]["state"]["width"] is None
        assert "5/5" in text["value"]
    assert shown(cells["a loop"]) == "5 5000 5\n"


INTERRUPT = r"""
import sys
from jupyter_client.manager import start_new_kernel

manager, client = start_new_kernel(kernel_name="python3")
def run(source, **options):
    reply = client.execute_interactive(source, timeout=60, **options)["content"]
    return reply["status"], reply.get("ename")
try:
    assert run('''
import threading, asyncstore.sync as a
store = a.open_store("./photos")
class Endless:
    def read(self, size):
        print("reading", flush=True)
        held.wait()
        return b""
held = threading.Event()
''') == ("ok", None)
    def interrupt(message):
        if message["msg_type"] == "stream" and "reading" in message["content"]["text"]:
            manager.interrupt_kernel()
    print(*run('store.put_stream("half", Endless())', output_hook=interrupt))
    print(*run('''
held.set()
store.put("whole", b"x")
assert [meta.key for meta in store.list()] == ["whole"]
store.close()
'''))
finally:
    client.stop_channels()
    manager.shutdown_kernel(now=True)
"""


def test_interrupting_a_cell_gives_the_call_up_and_the_store_goes_on(tmp_path: Path):
    ended = jupyter("-c", INTERRUPT, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == ["error KeyboardInterrupt", "ok None"]
