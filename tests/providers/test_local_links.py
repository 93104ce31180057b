"""No key, link or race leads out of the root, and what is no file is no object."""

import asyncio
import ctypes
import os
import socket
import threading
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asyncstore.errors import AlreadyExistsError, InvalidPathError, NotFoundError, StoreError
from asyncstore.providers.local import LocalProvider
from asyncstore.types import Span

AT_FDCWD = -100
RENAME_EXCHANGE = 2


async def attempts(provider, key):
    """Try every operation on a key; return what each raised."""
    upload = None

    async def in_parts():
        nonlocal upload
        upload = await provider.begin_upload(key)
        await upload.put_part(1, b"changed")
        await upload.complete()

    async def streamed():
        async with provider.open(key) as stream:
            async for _ in stream:
                pass

    async def deleted():
        for error in (await provider.delete([key])).values():
            raise error

    raised = {}
    for name, call in {
        "head": lambda: provider.head(key),
        "get": lambda: provider.get(key, span=Span(0, 5)),
        "open": streamed,
        "put": lambda: provider.put(key, b"changed"),
        "create": lambda: provider.put(key, b"changed", if_absent=True),
        "replace": lambda: provider.put(key, b"changed", if_match='"1"'),
        "upload": in_parts,
        "copy to": lambda: provider.copy("plain", key),
        "copy from": lambda: provider.copy(key, "copied"),
        "delete": deleted,
        "move to": lambda: provider.move_prefix("folder", key),
    }.items():
        try:
            await call()
        except StoreError as error:
            raised[name] = error
        if upload is not None:
            await upload.abort()
    return raised


@pytest.fixture
def outside(tmp_path):
    """A folder beside the root that nobody may read or change."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_bytes(b"secret")
    yield folder
    assert os.listdir(folder) == ["secret"]
    assert (folder / "secret").read_bytes() == b"secret"


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "root"
    (folder / "folder").mkdir(parents=True)
    (folder / "plain").write_bytes(b"plain")
    (folder / "folder" / "inner").write_bytes(b"inner")
    return folder


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("link", "to", "key"),
    [
        ("link", "{outside}", "link/secret"),
        ("link", "../outside", "link/secret"),
        ("link", "../outside", "link/new/deeper"),
        ("link", "{outside}/secret", "link"),
        ("folder/link", "../../outside", "folder/link/secret"),
        ("link", "folder", "link/inner"),
        ("link", "plain", "link"),
        ("link", "nowhere", "link"),
        ("link", "link", "link/x"),
    ],
)
async def test_no_operation_follows_a_link_below_the_root(root, outside, link, to, key):
    os.symlink(to.format(outside=outside), root / link)
    provider = LocalProvider(str(root))
    raised = await attempts(provider, key)
    assert len(raised) == 11
    assert isinstance(raised.pop("move to"), InvalidPathError | AlreadyExistsError)
    assert {type(error) for error in raised.values()} == {InvalidPathError}
    assert (root / link).is_symlink()
    assert [meta.key for meta in (await provider.list_page("")).objects] == [
        "folder/inner",
        "plain",
    ]
    assert (root / "plain").read_bytes() == b"plain"


@pytest.mark.asyncio
async def test_the_root_itself_may_be_a_link(root, tmp_path):
    os.symlink(root, tmp_path / "door")
    provider = LocalProvider(str(tmp_path / "door"))
    await provider.put("new/key", b"x")
    assert (root / "new" / "key").read_bytes() == b"x"


@pytest.mark.asyncio
async def test_pipes_sockets_and_devices_are_refused_without_waiting(root, tmp_path, monkeypatch):
    os.mkfifo(root / "pipe")
    monkeypatch.chdir(root)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
    provider = LocalProvider(str(root))
    for key in ("pipe", "socket"):
        raised = await attempts(provider, key)
        assert len(raised) == 11
        assert isinstance(raised.pop("move to"), AlreadyExistsError)
        assert {type(error) for error in raised.values()} == {InvalidPathError}
    raised = await attempts(provider, "pipe/below")
    assert {type(error) for error in raised.values()} == {InvalidPathError}
    assert [meta.key for meta in (await provider.list_page("")).objects] == [
        "folder/inner",
        "plain",
    ]


@pytest.mark.asyncio
async def test_a_folder_swapped_for_a_link_meanwhile_leads_nowhere(root, outside):
    provider = LocalProvider(str(root), durability="deferred")
    (root / "d").mkdir()
    (root / "d" / "secret").write_bytes(b"inside")
    os.symlink(outside, root / "link")
    libc = ctypes.CDLL(None, use_errno=True)
    stop = threading.Event()
    swaps = 0

    def swap():
        nonlocal swaps
        folder, link = os.fsencode(root / "d"), os.fsencode(root / "link")
        while not stop.is_set():
            assert libc.renameat2(AT_FDCWD, folder, AT_FDCWD, link, RENAME_EXCHANGE) == 0
            swaps += 1

    thread = threading.Thread(target=swap)
    thread.start()
    seen: set[object] = set()
    try:
        for n in range(600):
            try:
                seen.add(bytes(await provider.get("d/secret")))
            except (NotFoundError, InvalidPathError) as error:
                seen.add(type(error))
            for call in (
                lambda: provider.put("d/secret", b"inside"),
                lambda n=n: provider.put(f"d/new{n}", b"inside"),
                lambda n=n: provider.put_group([("d/secret", b"inside"), (f"d/g{n}", b"inside")]),
                lambda n=n: provider.delete([f"d/new{n}"]),
                lambda: provider.copy("d/secret", "d/secret2"),
                lambda: provider.list_page("d/"),
            ):
                try:
                    await call()
                except StoreError as error:
                    seen.add(type(error))
    finally:
        stop.set()
        thread.join()
        await provider.aclose()
    assert swaps > 50
    assert b"secret" not in seen
    assert b"inside" in seen


hostile = st.sampled_from(
    [
        "..",
        ".",
        "",
        "/",
        "//",
        "...",
        "~",
        "C:",
        "\\",
        "..\\",
        "%2e%2e",
        "%2f",
        "\0",
        "\n",
        "a",
        "b",
    ]
) | st.text(max_size=4)
hostile_keys = st.lists(hostile, min_size=1, max_size=6).map("/".join) | st.lists(
    hostile, min_size=1, max_size=6
).map("".join)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(key=hostile_keys)
def test_no_key_writes_outside_the_root(tmp_path, key):
    root = tmp_path / "x" / "y" / "root"
    root.mkdir(parents=True, exist_ok=True)
    canary = tmp_path / "x" / "canary"
    canary.write_bytes(b"canary")

    async def main():
        provider = LocalProvider(str(root), durability="deferred")
        try:
            await provider.put(key, key.encode("utf-8", "surrogatepass"))
        except StoreError as error:
            assert isinstance(error, InvalidPathError)  # noqa: PT017 - either is right
            for call in (provider.head, provider.get):
                with pytest.raises(StoreError):
                    await call(key)
            with suppress(InvalidPathError):
                assert not (await provider.list_page(key)).objects
            assert not isinstance(await _deleted(provider, key), NotFoundError)
        else:
            assert bytes(await provider.get(key)) == key.encode("utf-8", "surrogatepass")
            assert [meta.key for meta in (await provider.list_page("")).objects] == [key]
            assert not await provider.delete([key])
        assert os.listdir(root) == []
        await provider.aclose()

    asyncio.run(main())
    assert sorted(os.listdir(tmp_path / "x")) == ["canary", "y"]
    assert os.listdir(tmp_path / "x" / "y") == ["root"]
    assert canary.read_bytes() == b"canary"


async def _deleted(provider, key):
    return (await provider.delete([key])).get(key)


@pytest.mark.asyncio
async def test_the_names_of_files_being_written_are_no_keys(root):
    provider = LocalProvider(str(root))
    for key in (".asyncstore-0123456789abcdef.tmp", "d/.asyncstore-0123456789abcdef.tmp/x"):
        with pytest.raises(InvalidPathError):
            await provider.put(key, b"x")
    for key in (".asyncstore-x.tmp", ".asyncstore", ".asyncstore-0123456789ABCDEF.tmp"):
        await provider.put(key, b"x")
        assert bytes(await provider.get(key)) == b"x"
        assert key in [meta.key for meta in (await provider.list_page("")).objects]
