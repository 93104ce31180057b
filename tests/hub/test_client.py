"""The library on the real hub: dataset functions, renewal in mid-work, trio, sync, the commands."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time

import pytest

import asyncstore
from asyncstore import sync
from asyncstore.errors import (
    AlreadyExistsError,
    DatasetExistsError,
    DatasetNotFoundError,
    NotFoundError,
    PermissionDeniedError,
    ReadOnlyError,
    UnauthenticatedError,
)
from asyncstore.testing.canary import guard
from asyncstore.testing.hubs import ADMINISTRATOR, PASSWORD, RealHub


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


@pytest.fixture
def at(real_hub):
    return {"hub_url": real_hub.url, "token": real_hub.person("dora")}


@pytest.fixture
def stranger(real_hub):
    return {"hub_url": real_hub.url, "token": real_hub.person("stan")}


@pytest.fixture(scope="module")
def hasty_hub():
    """A hub whose credentials end before the work does."""
    with RealHub(lifetime=3.0) as hub:
        yield hub


@pytest.mark.anyio
async def test_a_dataset_lives_its_life_at_a_hub(at, stranger, anyio_backend):
    path = f"hub://dora/life-{anyio_backend}"
    new = f"hub://dora/other-{anyio_backend}"
    assert not await asyncstore.exists(path, **at)
    async with await asyncstore.empty(path, **at) as ds:
        await ds.store.put("chunks/0", b"x" * 100_000)
        with pytest.raises(AlreadyExistsError):
            await ds.store.put("chunks/0", b"", if_absent=True)
    with pytest.raises(DatasetExistsError):
        await asyncstore.empty(path, **at)

    assert not await asyncstore.exists(path, **stranger)
    with pytest.raises(DatasetNotFoundError):
        await asyncstore.load(path, **stranger)
    with pytest.raises(NotFoundError):
        await asyncstore.make_public(path, **stranger)

    await asyncstore.make_public(path, **at)
    with pytest.warns(UserWarning, match="read-only"):
        ds = await asyncstore.load(path, **stranger)
    async with ds:
        assert (ds.mode, len(await ds.store.get("chunks/0"))) == ("r", 100_000)
        with pytest.raises(ReadOnlyError):
            await ds.store.put("chunks/1", b"")
    with pytest.raises(PermissionDeniedError):
        await asyncstore.load(path, read_only=False, **stranger)
    with pytest.raises(PermissionDeniedError):
        await asyncstore.delete(path, **stranger)
    async with await asyncstore.load(path, read_only=True, hub_url=at["hub_url"]) as ds:
        assert ds.mode == "r"  # nobody in particular
    await asyncstore.make_private(path, **at)
    assert not await asyncstore.exists(path, **stranger)

    await (await asyncstore.rename(path, new, **at)).aclose()
    assert not await asyncstore.exists(path, **at)
    async with await asyncstore.load(new, **at) as ds:
        assert ds.mode == "a"
        assert bytes(await ds.store.get("chunks/0"))[:2] == b"xx"
    assert new in await asyncstore.list("hub://dora", **at)
    await asyncstore.delete(new, **at)
    assert new not in await asyncstore.list("hub://dora", **at)
    assert not await asyncstore.exists(new, **at)


def test_the_same_without_await(at, tmp_path):
    with sync.empty("hub://dora/plain", public=True, **at) as ds:
        ds.store.put("k", b"bytes")
    assert sync.list("dora", **at).count("hub://dora/plain") == 1
    sync.copy("hub://dora/plain", tmp_path / "copy", progressbar=False, **at).close()
    sync.copy(tmp_path / "copy", "hub://dora/again", progressbar=False, **at).close()
    with sync.load("hub://dora/again", **at) as ds:
        assert bytes(ds.store.get("k")) == b"bytes"
    sync.make_private("hub://dora/plain", **at)
    for name in ("plain", "again"):
        sync.delete(f"hub://dora/{name}", **at)


async def work(at, name, seconds):
    """Write and read until the time is over; return how many objects there are."""
    async with await asyncstore.empty(f"hub://hans/{name}", **at) as ds:
        end = time.monotonic() + seconds
        count = 0
        while time.monotonic() < end:
            await ds.store.put(f"k/{count}", os.urandom(1000))
            await asyncio.gather(*(ds.store.get(f"k/{n}") for n in range(max(0, count - 5), count)))
            count += 1
        await ds.store.put_stream("big", (bytes(1 << 20) for _ in range(10)), size=10 << 20)
        assert len(await ds.store.get("big")) == 10 << 20
        return count


@pytest.mark.asyncio
async def test_work_outlives_the_credentials_that_it_began_with(hasty_hub):
    token = await asyncio.to_thread(hasty_hub.person, "hans")
    at = {"hub_url": hasty_hub.url, "token": token}
    count = await work(at, "long", 7.0)
    assert count > 20
    async with asyncstore.open_store("hub://hans/long", **at) as store:
        assert len([meta async for meta in store.list("k/")]) == count


@pytest.mark.asyncio
async def test_a_token_that_is_revoked_ends_work_and_says_so(hasty_hub):
    token = await asyncio.to_thread(hasty_hub.person, "rita")
    made = await asyncio.to_thread(
        hasty_hub.ask,
        lambda api: api.create_token("short", expires_in=600, access="write"),
        token=token,
    )
    mine = guard(made.token.reveal())
    store = asyncstore.open_store("hub://rita/set", hub_url=hasty_hub.url, token=mine)
    async with store:
        await store.put("k", b"x")
        await asyncio.to_thread(hasty_hub.ask, lambda api: api.revoke_token(made.id), token=token)
        with pytest.raises((UnauthenticatedError, PermissionDeniedError)):
            await _until_refused(store)


async def _until_refused(store):
    """Read; the hub's storage may take a second to know."""
    for _ in range(50):
        await store.get("k")
        await asyncio.sleep(0.1)


class Shell:
    """A user's shell: the command in a child process, with a home of its own."""

    def __init__(self, home, url):
        self.environment = {
            "HOME": str(home),
            "PATH": f"{os.path.dirname(sys.executable)}:/usr/bin:/bin",
        }
        self.url = url

    def __call__(self, *words, stdin="", code=0):
        ended = subprocess.run(
            ["asyncstore", *words],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            env=self.environment,
            timeout=60,
        )
        assert ended.returncode == code, ended.stdout + ended.stderr
        return ended.stdout, ended.stderr

    def json(self, *words, **how):
        out, _ = self(*words, "--json", **how)
        return [json.loads(line) for line in out.splitlines()]


@pytest.fixture
def shell(real_hub, tmp_path):
    return Shell(tmp_path, real_hub.url)


def test_a_person_signs_in_works_shares_and_signs_out(shell, tmp_path):
    given = {"stdin": f"{PASSWORD}\n"}
    shell("register", "--hub", shell.url, "--password-stdin", "vera", "v@example.org", **given)
    shell("register", "--hub", shell.url, "--password-stdin", "vera", "v@e.org", code=5, **given)
    wrong = {"stdin": "not the password", "code": 4}
    shell("login", "--hub", shell.url, "--password-stdin", "vera", **wrong)
    out, _ = shell("login", "--hub", shell.url, "--password-stdin", "vera", **given)
    assert out.startswith(f"signed in to {shell.url} as vera until ")
    assert "vera (admin)" in shell("whoami")[0]

    (tmp_path / "file").write_bytes(b"bytes of mine")
    shell("cp", str(tmp_path / "file"), "hub://vera/set/a/file")
    assert shell("cat", "hub://vera/set/a/file")[0] == "bytes of mine"
    assert shell("ls", "-r", "hub://vera/set")[0] == "a/file\n"
    assert "hub identity  vera (from the login file)" in shell("doctor", "hub://vera/set")[0]

    (made,) = shell.json("tokens", "create", "--expires", "1h", "--read-only", "nightly")
    token = guard(made["token"])
    assert any(row["id"] == made["id"] for row in shell.json("tokens", "list"))
    shell.environment["ACTIVELOOP_TOKEN"] = token
    assert shell("cat", "hub://vera/set/a/file")[0] == "bytes of mine"
    shell("cp", str(tmp_path / "file"), "hub://vera/set/b", code=4)
    del shell.environment["ACTIVELOOP_TOKEN"]
    shell("tokens", "revoke", made["id"])

    shell("org", "create", "veras")
    assert {row["name"] for row in shell.json("org", "list")} == {"vera", "veras"}
    shell("org", "delete", "veras")
    shell("logout")
    assert shell("whoami")[0] == f"nobody at {shell.url}\n"
    shell("tokens", "list", code=4)
    shell("cat", "hub://vera/set/a/file", code=4)
    shell.environment["ACTIVELOOP_TOKEN"] = token
    shell("cat", "hub://vera/set/a/file", code=4)


def test_a_person_leaves_and_is_nobody_from_then_on(real_hub, shell):
    given = {"stdin": f"{PASSWORD}\n"}
    shell("register", "--hub", shell.url, "--password-stdin", "lena", "l@example.org", **given)
    shell("login", "--hub", shell.url, "--password-stdin", "lena", **given)
    shell("org", "create", "lenas")
    _, err = shell("unregister", "--password-stdin", code=5, **given)
    assert "keeps at least one administrator" in err
    shell("org", "delete", "lenas")
    shell("unregister", "--password-stdin", stdin="not the password", code=4)
    assert shell("unregister", "--password-stdin", **given)[0] == f"removed lena of {shell.url}\n"
    assert shell("whoami")[0] == f"nobody at {shell.url}\n"
    shell("login", "--hub", shell.url, "--password-stdin", "lena", code=4, **given)

    real_hub.person("liam")
    shell("hub", "remove-user", "liam", code=4)
    shell.environment["ACTIVELOOP_TOKEN"] = real_hub.tokens[ADMINISTRATOR]
    shell("hub", "remove-user", "liam")
    shell("hub", "remove-user", "liam", code=3)


def test_terms_are_shown_and_agreed_to_before_a_data_set_opens(real_hub, shell):
    shell.environment["ASYNCSTORE_HUB_URL"] = real_hub.url
    owner, reader = real_hub.person("tess"), real_hub.person("rhea")
    at = {"hub_url": real_hub.url, "token": owner}
    with sync.empty("hub://tess/kind", public=True, **at) as ds:
        ds.store.put("k", b"bytes")
    shell.environment["ACTIVELOOP_TOKEN"] = owner
    shell("hub", "terms", "hub://tess/kind", stdin="Be kind.\nAlways.\n")
    shell("hub", "terms", "hub://tess/kind", stdin=" ", code=2)

    shell.environment["ACTIVELOOP_TOKEN"] = reader
    assert "asyncstore hub agree" in shell("cat", "hub://tess/kind/k", code=4)[1]
    out, err = shell("hub", "agree", "hub://tess/kind", code=2)
    assert (out, "--yes" in err) == ("Be kind.\nAlways.\n", True)
    shell("cat", "hub://tess/kind/k", code=4)
    shell("hub", "agree", "--yes", "hub://tess/kind")
    assert shell("cat", "hub://tess/kind/k")[0] == "bytes"
    assert "asks for nothing" in shell("hub", "agree", "hub://tess/kind")[0]

    shell.environment["ACTIVELOOP_TOKEN"] = owner
    shell("hub", "terms", "--none", "hub://tess/kind")
    shell("hub", "agree", "hub://tess", code=2)


def test_a_password_is_not_read_where_there_is_nobody_to_ask(shell):
    _, err = shell("login", "--hub", shell.url, "vera", code=2)
    assert "--password-stdin" in err


def test_a_password_is_asked_for_without_echo(shell):
    import pty

    main, terminal = pty.openpty()
    shell.environment["TERM"] = "dumb"
    with subprocess.Popen(
        ["asyncstore", "login", "--hub", shell.url, "nobody-of-that-name"],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=shell.environment,
        start_new_session=True,
        preexec_fn=_own_terminal,  # noqa: PLW1509 - one call, that locks nothing
    ) as child:
        os.close(terminal)
        shown = b""
        while b"Password:" not in shown:
            shown += os.read(main, 1000)
        os.write(main, b"typed-and-not-to-be-seen\n")
        try:
            while piece := os.read(main, 1000):
                shown += piece
        except OSError:
            pass  # the terminal's other side is gone
        assert child.wait(timeout=30) == 4
    os.close(main)
    assert b"typed-and" not in shown


def _own_terminal():
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
