"""Signing in to Google through the browser, with an HTTP client that plays the person."""

import asyncio
import html
import json
import os
import re
import socket
import stat
import urllib.error
import urllib.request
from urllib.parse import parse_qs, urlsplit

import pytest

from asyncstore.errors import ConfigurationError, DeadlineError, UnauthenticatedError
from asyncstore.providers.gcs import GCSProvider, cache
from asyncstore.providers.gcs.browser import Browser
from asyncstore.testing.canary import CANARY_SECRET
from asyncstore.testing.google_standins import CLIENT_ID, GoogleStandIns
from asyncstore.testing.small_http import Reply
from asyncstore.testing.strict_gcs import StrictGCS
from asyncstore.types import Settings

pytestmark = pytest.mark.asyncio


class Person:
    """Follows the links of the consent page as a browser does."""

    def __init__(self, choice="allow"):
        self.choice = choice
        self.pages = []
        self.answers = []
        self.before_redirect = lambda _: None

    def __call__(self, page):
        self.pages.append(page)
        _, text = self.visit(page)
        link = re.search(rf'id="{self.choice}" href="([^"]+)"', text)
        assert link is not None
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(page))
        status, place = self.visit(origin + html.unescape(link[1]), follow=False)
        assert status == 302
        self.before_redirect(place)
        self.answers.append(self.visit(place))
        return True

    @staticmethod
    def visit(url, *, follow=True, method="GET"):
        class Stay(urllib.request.HTTPRedirectHandler):
            def redirect_request(self, *_):
                return None

        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), Stay)
        try:
            request = urllib.request.Request(url, method=method)  # noqa: S310 - loopback
            with opener.open(request, timeout=10) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 302 and not follow:
                    return 302, error.headers["location"]
                return error.code, error.read().decode()


class World:
    def __init__(self, storage, google, home):
        self.storage, self.google, self.home = storage, google, home
        self.bucket = storage.make_bucket()
        self.environ = {"HOME": str(home), "GCE_METADATA_HOST": google.host}
        self.path = home / ".config" / "asyncstore" / "google.json"

    async def write(self, creds, **environ):
        """Write with the credentials; return whose token the storage server saw."""
        settings = Settings(creds=creds, endpoint_url=self.storage.url)
        provider = GCSProvider(self.bucket, settings, environ=self.environ | environ)
        try:
            await provider.put("key", b"data")
        finally:
            await provider.aclose()
        bearer = self.storage.calls[-1].headers["authorization"].removeprefix("Bearer ")
        return self.google.identity_of(bearer)


@pytest.fixture
def world(tmp_path):
    with StrictGCS() as storage, GoogleStandIns() as google:
        google.on_issue = lambda token: storage.tokens.__setitem__(token, "rw")
        yield World(storage, google, tmp_path)


@pytest.fixture
def person(monkeypatch):
    person = Person()
    monkeypatch.setattr("webbrowser.open", person)
    return person


async def test_a_person_signs_in_and_the_login_is_kept_for_the_owner_alone(world, person, capsys):
    umask = os.umask(0)
    try:
        assert await world.write(world.google.client()) == "browser user"
    finally:
        os.umask(umask)
    assert stat.S_IMODE(world.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(world.path.parent.stat().st_mode) == 0o700
    assert os.listdir(world.path.parent) == ["google.json"]
    assert json.loads(world.path.read_text())["type"] == "authorized_user"
    assert "Signed in" in person.answers[0][1]
    printed = capsys.readouterr()
    assert person.pages[0] in printed.err
    assert printed.out == ""


async def test_the_kept_login_needs_no_browser(world, person):
    await world.write(world.google.client())
    assert await world.write("cache") == "user"
    assert len(person.pages) == 1


async def test_the_page_is_asked_for_with_pkce_and_a_state(world, person):
    await world.write(world.google.client())
    await world.write(world.google.client())
    asked = [parse_qs(urlsplit(page).query) for page in person.pages]
    for query in asked:
        assert query["client_id"] == [CLIENT_ID]
        assert query["code_challenge_method"] == ["S256"]
        assert query["access_type"] == ["offline"]
        assert query["redirect_uri"][0].startswith("http://127.0.0.1:")
        assert len(query["state"][0]) >= 32
    for name in ("state", "code_challenge"):
        assert asked[0][name] != asked[1][name]


async def test_the_client_may_come_from_a_file_of_googles_console(world, person):
    client = world.google.client()
    del client["type"]
    path = world.home / "client.json"
    path.write_text(json.dumps({"installed": client | {"project_id": "p"}}))
    identity = await world.write("browser", ASYNCSTORE_GOOGLE_CLIENT=str(path))
    assert identity == "browser user"
    assert await world.write("cache") == "user"


async def test_without_a_client_the_error_says_how_to_get_one(world, person):
    with pytest.raises(ConfigurationError, match="ASYNCSTORE_GOOGLE_CLIENT"):
        await world.write("browser")
    broken = world.home / "client.json"
    for text in ("{", "[]", "{}", '{"installed": {"client_id": "x"}}'):
        broken.write_text(text)
        with pytest.raises(ConfigurationError, match="client"):
            await world.write("browser", ASYNCSTORE_GOOGLE_CLIENT=str(broken))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        await world.write("browser", ASYNCSTORE_GOOGLE_CLIENT=str(world.home / "no"))
    with pytest.raises(ConfigurationError, match="client_secret"):
        await world.write({"type": "browser", "client_id": "x"})
    with pytest.raises(ConfigurationError, match="write 'client_id'"):
        await world.write(world.google.client() | {"clientid": "x"})
    assert person.pages == []


async def test_a_redirect_with_another_state_is_refused_and_changes_nothing(world, person):
    refused: list[tuple[int, str]] = []

    def attack(place):
        stolen = place.replace("code=", "code=stolen&x=")
        forged = (re.sub("state=[^&]+", new, stolen) for new in ("state=forged", ""))
        refused.extend(person.visit(url) for url in forged)

    person.before_redirect = attack
    assert await world.write(world.google.client()) == "browser user"
    assert [status for status, _ in refused] == [400, 400]
    assert world.google.count("/token") == 1, "a forged code was traded"


async def test_strangers_at_the_port_do_not_end_the_sign_in(world, person):
    seen: list[int] = []

    def disturb(place):
        parts = urlsplit(place)
        base = f"http://{parts.netloc}"
        seen.extend(
            person.visit(url, method=method)[0]
            for url, method in (
                (f"{base}/favicon.ico", "GET"),
                (f"{base}/", "GET"),
                (f"{base}/?{parts.query}", "POST"),
            )
        )
        with socket.create_connection((parts.hostname, parts.port), timeout=5) as raw:
            raw.sendall(b"\x00" * 100_000 + b"\r\n\r\n")

    person.before_redirect = disturb
    assert await world.write(world.google.client()) == "browser user"
    assert seen == [404, 400, 404]


async def test_a_person_who_declines_is_reported(world, person):
    person.choice = "deny"
    with pytest.raises(UnauthenticatedError, match="declined"):
        await world.write(world.google.client())
    assert "Not signed in" in person.answers[0][1]
    assert not world.path.exists()
    assert world.storage.calls == []


async def test_a_code_that_is_refused_is_an_error(world, person):
    world.google.fail("reply", "/token", Reply(400, b'{"error": "invalid_grant"}'))
    with pytest.raises(UnauthenticatedError, match="invalid_grant"):
        await world.write(world.google.client())
    assert not world.path.exists()


async def test_nobody_at_the_browser_ends_in_time(world, monkeypatch):
    monkeypatch.setattr("webbrowser.open", lambda _: False)
    settings = Settings(creds=world.google.client(), endpoint_url=world.storage.url)
    provider = GCSProvider(world.bucket, settings, environ=world.environ)
    source = provider._session.source
    assert isinstance(source, Browser)
    source.patience = 0.2
    with pytest.raises(DeadlineError, match="nobody signed in"):
        await provider.get("key")
    await provider.aclose()


async def test_closing_ends_a_sign_in_that_waits(world, monkeypatch):
    opened: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(
        "webbrowser.open", lambda page: loop.call_soon_threadsafe(opened.put_nowait, page)
    )
    settings = Settings(creds=world.google.client(), endpoint_url=world.storage.url)
    provider = GCSProvider(world.bucket, settings, environ=world.environ)
    waiting = asyncio.create_task(provider.get("key"))
    page = await opened.get()
    await provider.aclose()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    redirect = parse_qs(urlsplit(page).query)["redirect_uri"][0]
    with pytest.raises(OSError, match="refused"):
        await asyncio.to_thread(Person.visit, redirect)


async def test_many_tasks_open_one_page(world, person):
    settings = Settings(creds=world.google.client(), endpoint_url=world.storage.url)
    provider = GCSProvider(world.bucket, settings, environ=world.environ)
    await asyncio.gather(*(provider.put(f"{n}", b"x") for n in range(50)))
    await provider.aclose()
    assert len(person.pages) == 1


async def test_a_login_is_renewed_without_the_browser(world, person):
    settings = Settings(creds=world.google.client(), endpoint_url=world.storage.url)
    provider = GCSProvider(world.bucket, settings, environ=world.environ)
    await provider.put("key", b"x")
    world.storage.tokens.clear()
    await provider.put("key", b"y")
    await provider.aclose()
    assert len(person.pages) == 1
    assert [issued.identity for issued in world.google.issued] == ["browser user", "user"]


# The cache.


async def test_without_a_kept_login_the_error_says_what_to_do(world):
    with pytest.raises(ConfigurationError, match="creds='browser' first"):
        await world.write("cache")
    assert world.google.calls == []


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
async def test_a_login_that_others_can_reach_is_refused(world, person, mode):
    await world.write(world.google.client())
    world.path.chmod(mode)
    before = len(world.google.calls)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        await world.write("cache")
    assert len(world.google.calls) == before


async def test_a_link_in_place_of_the_login_is_refused(world, person):
    await world.write(world.google.client())
    world.path.rename(world.home / "elsewhere.json")
    world.path.symlink_to(world.home / "elsewhere.json")
    with pytest.raises(ConfigurationError, match="not a link"):
        await world.write("cache")


async def test_a_link_in_place_of_the_login_is_replaced_and_not_followed(world, person):
    world.path.parent.mkdir(parents=True, mode=0o700)
    victim = world.home / "victim"
    victim.write_text("untouched")
    world.path.symlink_to(victim)
    await world.write(world.google.client())
    assert victim.read_text() == "untouched"
    assert not world.path.is_symlink()


async def test_another_users_login_is_refused(world, person, monkeypatch):
    await world.write(world.google.client())
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    with pytest.raises(ConfigurationError, match="another user"):
        await world.write("cache")


async def test_a_folder_that_others_can_write_to_is_refused(world, person):
    world.path.parent.mkdir(parents=True)
    world.path.parent.chmod(0o777)
    with pytest.raises(ConfigurationError, match="chmod 700"):
        await world.write(world.google.client())
    assert not world.path.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"type": "service_account"}', "\x80\x04."])
async def test_a_broken_login_is_refused(world, text):
    world.path.parent.mkdir(parents=True)
    world.path.touch(0o600)
    world.path.write_text(text)
    with pytest.raises(ConfigurationError, match="creds='browser'"):
        await world.write("cache")
    assert world.google.calls == []


async def test_the_cache_is_in_the_users_configuration_folder_and_nowhere_else(tmp_path):
    home = {"HOME": str(tmp_path)}
    usual = str(tmp_path / ".config" / "asyncstore" / "google.json")
    assert cache.cache_path(home) == usual
    assert cache.cache_path(home | {"XDG_CONFIG_HOME": "relative"}) == usual
    chosen = str(tmp_path / "x")
    path = cache.cache_path(home | {"XDG_CONFIG_HOME": chosen})
    assert path == os.path.join(chosen, "asyncstore", "google.json")
    with pytest.raises(ConfigurationError, match="HOME"):
        cache.cache_path({"HOME": "."})


async def test_a_write_that_fails_leaves_the_old_login(tmp_path, monkeypatch):
    path = str(tmp_path / "asyncstore" / "google.json")
    cache.save(path, {"type": "old"})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigurationError, match="No space left"):
        cache.save(path, {"type": CANARY_SECRET})
    assert cache.load(path) == {"type": "old"}
    assert os.listdir(tmp_path / "asyncstore") == ["google.json"]
