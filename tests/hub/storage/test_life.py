"""The storage's life: opened and swept, slow clients, rights that end, a disk that is full."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys

import pytest

from asyncstore.errors import ConfigurationError
from asyncstore.hub.storage import Storage
from asyncstore.testing.storing import HubStorage
from tests.mounting import mounted, needs_mounts

pytestmark = pytest.mark.asyncio
DATA = os.urandom(200_000)
DAY = 24 * 3600


def files(folder):
    return [path for path in (folder / "storage" / "data").rglob("*") if path.is_file()]


class Hours:
    """The event loop's clock: stands, until a client lets time pass."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: self.now)

    async def arriving(self, pieces, seconds):
        """Yield pieces, each so many seconds after the one before."""
        for piece in pieces:
            self.now += seconds
            for _ in range(3):  # the loop sees what is due before it sees the piece
                await asyncio.sleep(0)
            yield piece


async def put(client, arriving):
    """Put DATA as its pieces arrive; return status and code."""
    target, headers, _ = client.signed("PUT", "ds/k", body=DATA)
    found = []

    async def receive():
        body = await anext(arriving, None)
        return {"type": "http.request", "body": body or b"", "more_body": body is not None}

    async def send(message):
        found.append(message)

    await client.storage(scope(target, headers, "PUT"), receive, send)
    code = found[-1]["body"].partition(b"<Code>")[2].partition(b"</Code>")[0].decode()
    return found[0]["status"], code


def scope(target, headers, method):
    return {
        "type": "http",
        "method": method,
        "path": target,
        "raw_path": target.encode(),
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }


def pieces(size):
    return [DATA[at : at + size] for at in range(0, len(DATA), size)]


async def test_a_body_may_take_long_if_it_keeps_coming(client, monkeypatch):
    hours = Hours(monkeypatch)
    assert await put(client, hours.arriving(pieces(40_000), 29)) == (200, "")
    assert hours.now == 1000 + 5 * 29


@pytest.mark.parametrize("step", [(40_000, 31), (1_000, 2)])
async def test_a_body_that_comes_too_slowly_is_refused_and_leaves_nothing(
    client, storage, tmp_path, monkeypatch, step
):
    size, seconds = step
    hours = Hours(monkeypatch)
    assert await put(client, hours.arriving(pieces(size), seconds)) == (400, "RequestTimeout")
    assert hours.now < 1000 + 40
    monkeypatch.undo()
    assert (await client.ask("GET", "ds/k")).code == "NoSuchKey"
    await storage.aclose()
    assert files(tmp_path) == []


async def test_who_takes_an_answer_too_slowly_lets_go_of_the_objects_files(
    client, storage, tmp_path, monkeypatch
):
    await client.ask("PUT", "ds/k", body=os.urandom(3 << 20))
    target, headers, _ = client.signed("GET", "ds/k")
    hours = Hours(monkeypatch)
    taken = []

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        if message["type"] == "http.response.body":
            taken.append(message)
            if len(taken) == 2:
                hours.now += 31
                await asyncio.Event().wait()

    await client.storage(scope(target, headers, "GET"), receive, send)
    assert len(taken) == 2
    monkeypatch.undo()
    await client.ask("DELETE", "ds/k")
    await storage.aclose()
    assert files(tmp_path) == []


async def test_access_ends_when_the_hub_says_so(tmp_path, clock, client):
    asked, holds = [], True

    async def allowed(grant):
        asked.append(grant)
        return holds

    storage = Storage(str(tmp_path / "other"), b"k" * 32, allowed=allowed, clock=clock)
    await storage.open()
    client.storage = storage
    client.use(client.grant(token_id="the token"))
    assert (await client.ask("PUT", "ds/k", body=b"kept")).status == 200
    assert asked[-1] == client.grant(token_id="the token")
    holds = False
    for method, key, query in (
        ("GET", "ds/k", ""),
        ("HEAD", "ds/k", ""),
        ("PUT", "ds/k", ""),
        ("DELETE", "ds/k", ""),
        ("POST", "ds/k", "uploads="),
        ("GET", "/org-a", "list-type=2&prefix=ds/"),
    ):
        assert (await client.ask(method, key, query)).status == 403, method
    holds = True
    assert (await client.ask("GET", "ds/k")).body == b"kept"
    await storage.aclose()


async def test_a_folder_that_another_process_serves_is_refused(tmp_path):
    folder = str(tmp_path / "storage")
    storage = Storage(folder, b"k" * 32)
    with HubStorage(folder), pytest.raises(ConfigurationError, match="by another process"):
        await storage.open()
    await storage.open()  # it is free again
    with pytest.raises(ConfigurationError, match="served by another process"):
        await Storage(folder, b"k" * 32).open()
    await storage.aclose()


async def begin(client, key):
    answer = await client.ask("POST", key, "uploads=")
    name = answer.body.partition(b"<UploadId>")[2].partition(b"</UploadId>")[0].decode()
    await client.ask("PUT", key, f"partNumber=1&uploadId={name}", body=DATA)
    return name


async def test_what_was_given_up_is_swept_when_the_folder_is_opened(
    client, storage, clock, tmp_path
):
    name = await begin(client, "ds/k")
    await client.ask("PUT", "ds/kept", body=DATA)
    await storage.aclose()
    orphan = files(tmp_path)[0].with_name(files(tmp_path)[0].name[:2] + "0" * 30)
    orphan.write_bytes(b"nobody's")

    clock.now += 6 * DAY
    await storage.open()
    client.use(client.grant())
    assert not orphan.exists()
    assert (await client.ask("GET", "ds/k", f"uploadId={name}")).status == 200
    await storage.aclose()

    clock.now += 2 * DAY
    await storage.open()
    client.use(client.grant())
    assert (await client.ask("GET", "ds/k", f"uploadId={name}")).code == "NoSuchUpload"
    assert (await client.ask("GET", "ds/kept")).body == DATA
    await storage.aclose()
    assert [path.read_bytes() for path in files(tmp_path)] == [DATA]


async def test_an_index_of_a_later_form_is_left_alone(storage, tmp_path):
    from asyncstore.hub.storage.index import connect

    await storage.aclose()
    db = connect(str(tmp_path / "storage" / "index.sqlite3"))
    db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(RuntimeError, match="form 99"):
        await storage.open()


FULL = """
import asyncio, json, os, sys, time
from asyncstore.hub.storage import Grant, Storage
from asyncstore.testing.storing import ask

folder = sys.argv[1]

async def main():
    storage = Storage(folder, b"k" * 32)
    await storage.open()
    grant = Grant("org-a", "ds/", "w", time.time() + 3600, "a", "ds", "t")
    found = []

    async def call(method, key, body=b""):
        target = storage.presign(grant, key, 3600, host="hub.test", method=method)
        headers = [("host", "hub.test"), ("content-length", str(len(body)))]
        answer = await ask(storage, method, target, headers, [body] if body else [])
        found.append([method, key, answer.status, answer.code])
        return answer.body

    old = os.urandom(100_000)
    await call("PUT", "ds/old", old)
    await call("PUT", "ds/large", bytes(6 << 20))
    await call("PUT", "ds/old", bytes(6 << 20))
    # What was given up is removed beside this, so the disk is filled until it stays full.
    while found[-1][1] != "ds/small" or found[-1][2] == 200:
        try:
            with open(os.path.join(folder, "filler"), "ab", buffering=0) as filler:
                while filler.write(bytes(4096)):
                    pass
        except OSError:
            pass
        await call("PUT", "ds/small", os.urandom(30_000))
    same = await call("GET", "ds/old") == old
    os.unlink(os.path.join(folder, "filler"))
    await call("PUT", "ds/again", bytes(300_000))
    await storage.aclose()
    left = sum(len(names) for _, _, names in os.walk(os.path.join(folder, "data")))
    print(json.dumps({"found": found, "same": same, "left": left}))

asyncio.run(main())
"""


@needs_mounts
async def test_a_full_disk_is_said_and_what_is_there_stays(tmp_path):
    """On a tmpfs of our own."""
    done = subprocess.run(  # noqa: ASYNC221 - nothing else runs on this loop
        (*mounted(tmp_path, "-o size=4m"), sys.executable, "-c", FULL, str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    found = {(method, key): (status, code) for method, key, status, code in told["found"]}
    full = (503, "ServiceUnavailable")
    # In files and in the index itself.
    assert found["PUT", "ds/large"] == found["PUT", "ds/old"] == found["PUT", "ds/small"] == full
    assert found["GET", "ds/old"] == found["PUT", "ds/again"] == (200, "")
    assert told["same"]
    assert told["left"] == 2
