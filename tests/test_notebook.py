"""A notebook: cells run inside a running event loop, and need no await."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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


def test_a_notebook_needs_no_await(tmp_path: Path):
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
            for name, source in CELLS.items()
        ],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    (tmp_path / "book.ipynb").write_text(json.dumps(notebook))
    ended = jupyter("-c", EXECUTE, "--inplace", "book.ipynb", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    cells = json.loads((tmp_path / "book.ipynb").read_text())["cells"]
    assert {name: shown(cell) for name, cell in zip(CELLS, cells, strict=True)} == PRINTED
    assert (tmp_path / "photos" / "cats" / "tom").read_bytes() == b"meow"


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
