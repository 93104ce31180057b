"""Listings of folders: in the order of bytes, a page at its own price, nothing lost in silence."""

import os
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asyncstore.errors import InvalidPathError, PermissionDeniedError
from asyncstore.providers.local import LocalProvider, listing
from asyncstore.providers.local.listing import Lister
from asyncstore.providers.local.tree import Root


def write(root, *keys):
    for key in keys:
        path = os.fsencode(root) + b"/" + (key if isinstance(key, bytes) else os.fsencode(key))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(b"x")


def keys_of(lister, prefix="", *, limit=1000, forget=False, **options):
    found = []
    cursor = None
    after = options.pop("after", None)
    while True:
        options.setdefault("delimiter", False)
        page = lister.page(prefix, cursor, after, limit=limit, **options)
        assert len(page.objects) + len(page.prefixes) <= limit
        found += [meta.key for meta in page.objects]
        found += page.prefixes
        cursor = page.cursor
        if cursor is None:
            return found
        if forget:
            lister = Lister(lister._root)


names = st.sampled_from(["a", "a!", "a0", "b", "é", "\uffff", "\U0001f600", "-", "~"])
paths = st.lists(names, min_size=1, max_size=4).map("/".join)


def without_clashes(keys):
    """Keep what a file system can hold: no key that is another's folder."""
    kept = set()
    for key in sorted(keys):
        parts = key.split("/")
        if not any("/".join(parts[:n]) in kept for n in range(1, len(parts))):
            kept.add(key)
    return kept


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    keys=st.sets(paths, max_size=14).map(without_clashes),
    prefix=st.just("") | paths | paths.map(lambda key: key + "/"),
    after=st.none() | paths,
    limit=st.integers(1, 5),
    forget=st.booleans(),
)
def test_a_listing_is_what_sorting_and_filtering_would_give(  # noqa: PLR0917 - hypothesis names
    tmp_path_factory, keys, prefix, after, limit, forget
):
    root = tmp_path_factory.mktemp("tree")
    write(root, *keys)
    lister = Lister(Root(str(root)))
    wanted = sorted(
        (key for key in keys if key.startswith(prefix) and (after is None or key > after)),
        key=str.encode,
    )
    assert keys_of(lister, prefix, limit=limit, forget=forget, after=after) == wanted
    folded = {
        prefix + key[len(prefix) :].partition("/")[0] + "/" * ("/" in key[len(prefix) :])
        for key in wanted
    }
    found = keys_of(lister, prefix, limit=limit, forget=forget, after=after, delimiter=True)
    assert sorted(found) == sorted(folded)
    assert len(found) == len(folded)


def test_a_page_costs_what_is_on_it_and_not_what_is_in_the_tree(tmp_path, monkeypatch):
    write(tmp_path, *(f"d{n:03}/{m:02}" for n in range(200) for m in range(20)))
    read = []
    real = os.scandir

    def seen(fd):
        read.append(fd)
        return real(fd)

    monkeypatch.setattr(os, "scandir", seen)
    lister = Lister(Root(str(tmp_path)))
    page = lister.page("", None, None, delimiter=False, limit=100)
    assert len(page.objects) == 100
    assert len(read) <= 1 + 6
    read.clear()
    page = lister.page("", page.cursor, None, delimiter=False, limit=100)
    assert len(read) <= 6, "the root was read again"
    read.clear()
    page = lister.page("", None, "d150/05", delimiter=False, limit=20)
    assert page.objects[0].key == "d150/06"
    assert len(read) <= 1 + 2, "it went straight down"
    read.clear()
    assert len(keys_of(lister, "d007/")) == 20
    assert len(read) == 1
    read.clear()
    assert len(keys_of(lister, delimiter=True)) == 200


def test_a_long_flat_folder_is_read_once(tmp_path):
    for n in range(20_000):
        os.close(os.open(tmp_path / f"{n:06}", os.O_CREAT | os.O_WRONLY))
    lister = Lister(Root(str(tmp_path)))
    started = time.perf_counter()
    assert len(keys_of(lister, limit=100)) == 20_000
    assert time.perf_counter() - started < 5


def test_a_name_that_is_no_unicode_is_listed_and_can_be_read_and_deleted(tmp_path):
    raw = [b"caf\xe9", b"\xff\xfe/x", b"ok", b"\xf0\x9f\x98\x80", b"a\xe9b/\xe9"]
    write(tmp_path, *raw)
    lister = Lister(Root(str(tmp_path)))
    found = keys_of(lister)
    assert [os.fsencode(key) for key in found] == sorted(raw)
    assert keys_of(lister, limit=1, forget=True) == found


@pytest.mark.asyncio
async def test_every_key_that_was_listed_works(tmp_path):
    raw = [b"caf\xe9", b"\xff\xfe/x", b"back\\slash", b"new\nline", b"tab\t/\x7f", b"ok"]
    write(tmp_path, *raw)
    provider = LocalProvider(str(tmp_path))
    keys = [meta.key for meta in (await provider.list_page("")).objects]
    assert len(keys) == len(raw)
    for key in keys:
        assert (await provider.head(key)).size == 1
        assert bytes(await provider.get(key)) == b"x"
        await provider.put(key, b"y")
        await provider.copy(key, "copies/" + key)
    assert not await provider.delete(keys)
    assert len((await provider.list_page("copies/")).objects) == len(raw)
    assert os.listdir(tmp_path) == ["copies"]
    with pytest.raises(InvalidPathError):
        await provider.get("lone\ud800")


@pytest.mark.asyncio
async def test_a_folder_that_may_not_be_read_is_said_and_not_left_out(tmp_path, monkeypatch):
    write(tmp_path, "a/x", "b/x", "c/x")
    provider = LocalProvider(str(tmp_path))
    real = os.scandir

    def denied(fd):
        if os.readlink(f"/proc/self/fd/{fd}").endswith("/b"):
            raise PermissionError(13, "denied")
        return real(fd)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", denied)
        with pytest.raises(PermissionDeniedError):
            await provider.list_page("")
    assert len((await provider.list_page("")).objects) == 3


def test_empty_folders_are_no_prefixes(tmp_path):
    write(tmp_path, "full/x")
    os.makedirs(tmp_path / "empty" / "er")
    os.symlink("full", tmp_path / "link")
    os.mkdir(tmp_path / "temp")
    (tmp_path / "temp" / ".asyncstore-0123456789abcdef.tmp").write_bytes(b"x")
    lister = Lister(Root(str(tmp_path)))
    assert keys_of(lister, delimiter=True) == ["full/"]
    assert keys_of(lister) == ["full/x"]


def test_a_walk_goes_on_when_folders_vanish_between_pages(tmp_path):
    write(tmp_path, *(f"{d}/{n}" for d in "abc" for n in range(4)))
    lister = Lister(Root(str(tmp_path)))
    page = lister.page("", None, None, delimiter=False, limit=2)
    for n in range(4):
        os.unlink(tmp_path / "a" / str(n))
    os.rmdir(tmp_path / "a")
    os.rename(tmp_path / "b", tmp_path / "bb")
    rest = lister.page("", page.cursor, None, delimiter=False, limit=100)
    assert [meta.key for meta in rest.objects] == [f"c/{n}" for n in range(4)]
    assert rest.cursor is None


@pytest.mark.asyncio
async def test_what_is_gone_or_no_file_any_more_since_its_folder_was_read_is_left_out(
    tmp_path, monkeypatch
):
    provider = LocalProvider(str(tmp_path))
    for name in "abcdef":
        await provider.put(f"d/{name}", name.encode())
    read = listing.names_in

    def changing(folder):
        names = read(folder)
        if "b" in names:
            for name in "bde":
                os.unlink(tmp_path / "d" / name)
            os.mkdir(tmp_path / "d" / "d")
            os.symlink(tmp_path / "d" / "a", tmp_path / "d" / "e")
        return names

    monkeypatch.setattr(listing, "names_in", changing)
    page = await provider.list_page("")
    assert [(meta.key, meta.size) for meta in page.objects] == [("d/a", 1), ("d/c", 1), ("d/f", 1)]
    assert [meta.etag for meta in page.objects] == [
        (await provider.head(meta.key)).etag for meta in page.objects
    ]
    await provider.aclose()
