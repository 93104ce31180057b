"""What is acknowledged is on the disk: the order of the system's calls, as strace saw them."""

import re
import subprocess
import sys
from typing import NamedTuple

import pytest

SCRIPT = """
import asyncio, os, sys
from asyncstore.providers.local import LocalProvider

def mark(text):
    os.write(1, f"@{text}\\n".encode())

async def main():
    provider = LocalProvider(sys.argv[1], durability=sys.argv[2])
    await provider.list_page("")  # threads are there, modules loaded
    mark("put"); await provider.put("a/b/k", b"x" * 100); mark("end")
    mark("again"); await provider.put("a/b/k", b"y" * 100); mark("end")
    mark("create"); await provider.put("a/b/new", b"x", if_absent=True); mark("end")
    mark("copy"); await provider.copy("a/b/k", "a/c/copied"); mark("end")
    upload = await provider.begin_upload("a/b/parts")
    await upload.put_part(1, b"x")
    mark("complete"); await upload.complete(); mark("end")
    mark("delete"); await provider.delete(["a/b/k"]); mark("end")
    mark("prune"); await provider.delete(["a/c/copied"]); mark("end")
    mark("move"); await provider.move_prefix("a", "z"); mark("end")
    items = [("g/one", b"x"), ("g/two", b"y")]
    mark("group"); await provider.put_group(items); mark("end")
    mark("regroup"); await provider.put_group(items); mark("end")
    mark("close"); await provider.aclose(); mark("end")

asyncio.run(main())
"""

LINE = re.compile(r"\d+ +(?P<call>\w+)\((?P<args>.*)\) += (?P<result>-?\d+)")
CALLS = (
    "fsync,fdatasync,syncfs,rename,renameat,renameat2,linkat,unlinkat,mkdir,mkdirat,write,pwrite64"
)


class Call(NamedTuple):
    name: str
    args: str


@pytest.fixture(params=["full", "deferred"])
def durability(request):
    return request.param


def recorded(tmp_path, durability):
    """Return the calls of each operation, as lists by its name."""
    log = tmp_path / "strace"
    root = tmp_path / "root"
    root.mkdir()
    subprocess.run(
        [
            "strace",
            "-f",
            "-y",
            "-o",
            log,
            "-e",
            f"trace={CALLS}",
            "-e",
            "status=successful",
            sys.executable,
            "-c",
            SCRIPT,
            str(root),
            durability,
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    calls: dict[str, list[Call]] = {}
    current = None
    for line in unsplit(log.read_text().splitlines()):
        found = LINE.match(line)
        if found is None:
            continue
        marked = re.search(r'"@(\w+)\\n"', found["args"]) if found["call"] == "write" else None
        if marked:
            current = calls.setdefault(marked[1], []) if marked[1] != "end" else None
        elif current is not None and str(root) in found["args"]:
            current.append(Call(found["call"], found["args"].replace(str(root), "ROOT")))
    return calls


def unsplit(lines):
    """Join calls that strace shows in two pieces, at the place of their end."""
    begun = {}
    for line in lines:
        pid = line.split(" ", 1)[0]
        if line.endswith("<unfinished ...>"):
            begun[pid] = line.removesuffix("<unfinished ...>").rstrip()
        elif "resumed>" in line:
            yield begun.pop(pid) + line.split("resumed>", 1)[1]
        else:
            yield line


def kinds(calls):
    """Name the calls by what they do to what."""
    for call in calls:
        if call.name in ("fsync", "fdatasync", "syncfs"):
            where = call.args.partition("<")[2].rstrip(">")
            is_temporary = ".tmp" in where or "/#" in where  # by a name, or without one
            yield f"{call.name} {'temp' if is_temporary else where}"
        elif call.name.startswith("rename"):
            yield "rename"
        elif call.name == "linkat":
            yield "link"
        elif call.name == "unlinkat":
            yield "rmdir" if "AT_REMOVEDIR" in call.args else "unlink"
        else:
            yield call.name.replace("64", "").replace("mkdirat", "mkdir")


@pytest.fixture
def calls(tmp_path, durability):
    return {name: list(kinds(found)) for name, found in recorded(tmp_path, durability).items()}


@pytest.mark.parametrize("durability", ["full"], indirect=True)
def test_an_acknowledged_write_is_on_the_disk_with_its_name_and_its_folders(calls):
    assert calls["put"] == [
        "mkdir", "fsync ROOT", "mkdir", "fsync ROOT/a",
        "pwrite", "fsync temp", "rename", "fsync ROOT/a/b",
    ]  # fmt: skip
    assert calls["again"] == ["pwrite", "fsync temp", "rename", "fsync ROOT/a/b"]
    assert calls["create"] == ["pwrite", "fsync temp", "link", "unlink", "fsync ROOT/a/b"]
    assert [call for call in calls["copy"] if call != "pwrite"] == [
        "mkdir", "fsync ROOT/a", "fsync temp", "rename", "fsync ROOT/a/c",
    ]  # fmt: skip
    assert calls["complete"] == ["fsync temp", "rename", "fsync ROOT/a/b"]
    file = ["write", "fsync temp"]
    assert calls["group"] == [
        "mkdir", "fsync ROOT", *file, "link", *file, "link", "fsync ROOT/g",
    ]  # fmt: skip
    # The first one was made without a name, and for nothing: its own was taken.
    assert calls["regroup"] == [*file * 3, "rename", "rename", "fsync ROOT/g"]


@pytest.mark.parametrize("durability", ["full"], indirect=True)
def test_an_acknowledged_removal_is_on_the_disk(calls):
    assert calls["delete"] == ["unlink", "fsync ROOT/a/b"]
    assert calls["prune"] == ["unlink", "rmdir", "fsync ROOT/a"]
    assert calls["move"][0] == "rename"
    assert "fsync ROOT" in calls["move"][1:]
    assert calls["close"] == []


@pytest.mark.parametrize("durability", ["deferred"], indirect=True)
def test_deferred_writes_are_flushed_once_when_the_provider_closes(calls):
    assert calls["put"] == ["mkdir", "mkdir", "pwrite", "rename"]
    assert calls["create"] == ["pwrite", "link", "unlink"]
    assert calls["complete"] == ["rename"]
    assert calls["group"] == ["mkdir", "write", "link", "write", "link"]
    before = [call for name, found in calls.items() if name != "close" for call in found]
    assert not [call for call in before if "sync" in call]
    assert [call.split()[0] for call in calls["close"]] == ["syncfs"]
