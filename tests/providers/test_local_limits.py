"""What the machine refuses is said by type; the old object stays and nothing is left behind."""

import asyncio
import errno
import json
import os
import subprocess
import sys
import tempfile

import pytest

from asyncstore.errors import (
    AlreadyExistsError,
    ConfigurationError,
    NotFoundError,
    PermissionDeniedError,
    StoreError,
    UnavailableError,
)
from asyncstore.providers.local import LocalProvider
from tests.mounting import mounted, needs_mounts

TRY = """
import asyncio, json, os, resource, signal, sys
from asyncstore.errors import StoreError
from asyncstore.providers.local import LocalProvider

root = sys.argv[1]
prepare = sys.argv[2]

async def main():
    provider = LocalProvider(root)
    found = {}
    async def attempt(name, call):
        try:
            await call()
            found[name] = "done"
        except StoreError as error:
            found[name] = f"{type(error).__name__} {error.outcome} {error}"

    await provider.put("old", b"old" * 1000)
    exec(prepare, globals())
    big = bytes(3 << 20)

    async def in_parts():
        upload = await provider.begin_upload("parts")
        try:
            await upload.put_part(1, big)
            await upload.complete()
        finally:
            await upload.abort()

    await attempt("replace", lambda: provider.put("old", big))
    await attempt("create", lambda: provider.put("d/e/new", big, if_absent=True))
    await attempt("upload", in_parts)
    await attempt("get", lambda: provider.get("old"))
    relax = globals().get("relax") or (lambda: None)
    relax()
    found["old"] = bytes(await provider.get("old")) == b"old" * 1000
    found["left"] = sorted(os.path.relpath(os.path.join(folder, name), root)
                           for folder, folders, names in os.walk(root) for name in names + folders)
    print(json.dumps(found))

asyncio.run(main())
"""


FORBIDDEN = """
import asyncio, os, sys
from asyncstore.errors import StoreError
from asyncstore.providers.local import LocalProvider

async def main():
    provider = LocalProvider(sys.argv[1])
    if os.geteuid() == 0:
        os.setgroups([])
        os.setuid(65534)  # for good; this Python and its modules may be root's alone
    assert [meta.key for meta in (await provider.list_page("")).objects] == ["old"]
    for call in (
        lambda: provider.get("old"),
        lambda: provider.put("old", b"new"),
        lambda: provider.put("d/new", b"new"),
        lambda: provider.begin_upload("new"),
    ):
        try:
            await call()
        except StoreError as error:
            print(type(error).__name__)
    for error in (await provider.delete(["old"])).values():
        print(type(error).__name__)

asyncio.run(main())
"""


def attempts(root, prepare, wrap=()):
    done = subprocess.run(
        [*wrap, sys.executable, "-c", TRY, str(root), prepare],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_file_larger_than_the_limit_is_refused_and_the_old_one_stays(tmp_path):
    found = attempts(
        tmp_path,
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))",
    )
    for name in ("replace", "create", "upload"):
        assert found[name].startswith("StoreError not_applied")
        assert "EFBIG" in found[name]
    assert found["get"] == "done"
    assert found["old"]
    assert found["left"] == ["old"]


@needs_mounts
def test_a_full_disk_is_said_and_the_old_object_stays(tmp_path):
    """On a tmpfs of 1 MiB of our own."""
    found = attempts(tmp_path, "0", wrap=mounted(tmp_path, "-o size=1m"))
    for name in ("replace", "create", "upload"):
        assert found[name].startswith("StoreError not_applied")
        assert "ENOSPC" in found[name]
    assert found["get"] == "done"
    assert found["old"]
    assert found["left"] == ["old"]


@needs_mounts
def test_a_disk_without_inodes_is_said_and_the_old_object_stays(tmp_path):
    found = attempts(tmp_path, "0", wrap=mounted(tmp_path, "-o nr_inodes=2"))
    for name in ("replace", "create", "upload"):
        assert found[name].startswith("StoreError not_applied")
        assert "ENOSPC" in found[name]
    assert found["old"]
    assert found["left"] == ["old"]


@needs_mounts
def test_a_read_only_file_system_is_said(tmp_path):
    remount = f"assert os.system('mount -o remount,ro {tmp_path}') == 0"
    found = attempts(tmp_path, remount, wrap=mounted(tmp_path))
    for name in ("replace", "create", "upload"):
        assert found[name].startswith("PermissionDeniedError not_applied")
        assert "EROFS" in found[name]
    assert found["get"] == "done"
    assert found["left"] == ["old"]


def test_too_many_open_files_is_an_error_that_passes(tmp_path):
    found = attempts(
        tmp_path,
        "limits = resource.getrlimit(resource.RLIMIT_NOFILE);"
        "globals()['relax'] = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limits);"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir('/proc/self/fd')), limits[1]))",
    )
    for name in ("replace", "create", "upload", "get"):
        assert found[name].startswith("UnavailableError not_applied")
        assert "ulimit -n" in found[name]
    assert found["old"]
    assert found["left"] == ["old"]


def test_what_is_forbidden_is_denied_and_not_absent():
    """Root may do everything, and becomes nobody for this."""
    with tempfile.TemporaryDirectory(dir="/tmp") as root:  # where anybody may look
        path = os.path.join(root, "old")
        with open(path, "wb") as file:
            file.write(b"old" * 1000)
        os.chmod(path, 0)
        os.chmod(root, 0o555)  # noqa: S103 - that nobody may write is what is tested
        command = [sys.executable, "-c", FORBIDDEN, root]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        os.chmod(root, 0o700)
        assert os.listdir(root) == ["old"]
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["PermissionDeniedError"] * 5


FAULTS = [
    ("fsync", errno.EIO, StoreError),
    ("rename", errno.EIO, StoreError),
    ("link", errno.EDQUOT, StoreError),
    ("pwrite", errno.ENOSPC, StoreError),
    ("utime", errno.EPERM, PermissionDeniedError),
    ("mkdir", errno.EDQUOT, StoreError),
    ("open", errno.EMFILE, UnavailableError),
    ("fstat", errno.ESTALE, UnavailableError),
]


@pytest.mark.asyncio
@pytest.mark.parametrize(("call", "code", "kind"), FAULTS)
async def test_whichever_call_fails_nothing_is_written(tmp_path, monkeypatch, call, code, kind):
    provider = LocalProvider(str(tmp_path / "root"))
    await provider.put("old", b"old")

    real = getattr(os, call)

    def failing(*args, **options):
        raise OSError(code, os.strerror(code))

    async def write():
        if call in ("link", "mkdir"):
            await provider.put("d/e/new", b"new", if_absent=True)
        else:
            await provider.put("old", b"new")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing)
        with pytest.raises(kind) as caught:
            await write()
    assert getattr(os, call) is real
    assert caught.value.outcome == "not_applied"
    assert caught.value.op == "put"
    assert bytes(await provider.get("old")) == b"old"
    assert [path.name for path in (tmp_path / "root").rglob("*")] == ["old"]


@pytest.mark.asyncio
async def test_a_folder_that_cannot_be_flushed_leaves_the_outcome_unknown(tmp_path, monkeypatch):
    provider = LocalProvider(str(tmp_path))
    await provider.put("old", b"old")
    real = os.fsync

    def failing(fd):
        if os.path.isdir(f"/proc/self/fd/{fd}"):
            raise OSError(errno.EIO, "failed")
        real(fd)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        with pytest.raises(StoreError) as caught:
            await provider.put("old", b"new")
    assert caught.value.outcome == "unknown"
    assert bytes(await provider.get("old")) == b"new"
    assert os.listdir(tmp_path) == ["old"]


@pytest.mark.asyncio
async def test_a_root_that_is_a_file_is_a_mistake_of_the_callers(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        provider = LocalProvider(str(path))
        with pytest.raises(ConfigurationError):
            await provider.put("k", b"x")
        with pytest.raises(ConfigurationError):
            await provider.get("k")
        with pytest.raises(ConfigurationError):
            await provider.list_page("")
    assert (tmp_path / "file").read_bytes() == b"x"


@pytest.mark.asyncio
async def test_a_root_that_is_not_there_is_empty_until_something_is_written(tmp_path):
    provider = LocalProvider(str(tmp_path / "a" / "b"))
    assert (await provider.list_page("")).objects == []
    assert not await provider.delete(["k", "d/k"])
    with pytest.raises(NotFoundError):
        await provider.head("k")
    assert (await provider.diagnose())["exists"] is False
    assert os.listdir(tmp_path) == []
    await provider.put("d/k", b"x")
    assert (tmp_path / "a" / "b" / "d" / "k").read_bytes() == b"x"
    assert (await provider.diagnose())["exists"] is True


@pytest.mark.asyncio
async def test_many_more_tasks_than_files_may_be_open(tmp_path):
    """Descriptors are held by worker threads, not by tasks."""
    provider = LocalProvider(str(tmp_path), durability="deferred")
    before = len(os.listdir("/proc/self/fd"))
    most = 0

    async def one(n):
        nonlocal most
        await provider.put(f"d{n % 50}/{n}", b"x")
        most = max(most, len(os.listdir("/proc/self/fd")) - before)

    await asyncio.gather(*(one(n) for n in range(1500)))
    await provider.aclose()
    assert most < 300


@pytest.mark.asyncio
async def test_an_object_that_is_deleted_as_a_create_meets_it_was_there(tmp_path, monkeypatch):
    def link(*_: object, **__: object) -> None:
        raise FileExistsError(errno.EEXIST, "somebody's, who deletes it at this moment")

    monkeypatch.setattr(os, "link", link)
    provider = LocalProvider(str(tmp_path))
    with pytest.raises(AlreadyExistsError):
        await provider.put("lock", b"", if_absent=True)
    await provider.aclose()
    assert os.listdir(tmp_path) == []
