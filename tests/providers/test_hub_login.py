"""Which hub, as whom, and a login that nobody else reads or plants."""

from __future__ import annotations

import os
import stat

import pytest

from asyncstore.credentials import Secret
from asyncstore.errors import ConfigurationError
from asyncstore.providers.hub import login
from asyncstore.providers.hub.login import Hub, Login
from asyncstore.testing.canary import CANARY_SECRET, CANARY_TOKEN, shows
from asyncstore.types import Settings

HERE = "https://hub.example.org"
KEPT = Login(HERE, Secret(CANARY_TOKEN), "ann", "2026-12-31T00:00:00Z")


@pytest.fixture
def home(tmp_path):
    return {"HOME": str(tmp_path)}


@pytest.fixture
def place(home):
    login.save(KEPT, home)
    return login.path(home)


def found(home, **settings):
    return login.find(Settings(**settings), home)


def test_the_first_address_and_the_first_token_that_there_are_are_taken(home, place):
    named = home | {"ASYNCSTORE_HUB_URL": HERE, "ACTIVELOOP_TOKEN": CANARY_SECRET}
    assert found(named, hub_url=HERE, token="mine").source == "token="
    assert found(named).token.reveal() == CANARY_SECRET
    assert found(named).source == "ACTIVELOOP_TOKEN"
    assert found(home) == Hub(HERE, Secret(CANARY_TOKEN), "the login file")
    assert found(home | {"ASYNCSTORE_HUB_URL": "http://localhost:7777"}).url.endswith(":7777")
    os.unlink(place)
    assert found(home) == Hub("https://app.activeloop.ai")


def test_a_login_is_of_the_address_that_it_was_made_at(home, place):
    assert found(home, hub_url=HERE).token is not None
    assert found(home, hub_url=f"{HERE}/").token is not None
    for other in ("https://other.example.org", f"{HERE}:8443", "http://hub.example.org"):
        assert found(home, hub_url=other) == Hub(other)


def test_a_logout_keeps_the_address(home, place):
    login.save(Login(HERE), home)
    assert found(home) == Hub(HERE)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_login_is_its_owners_alone_whatever_the_umask(home, umask):
    before = os.umask(umask)
    try:
        login.save(KEPT, home)
    finally:
        os.umask(before)
    place = login.path(home)
    assert stat.S_IMODE(os.stat(place).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.dirname(place)).st_mode) & 0o022 == 0


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o622, 0o644])
def test_a_login_that_others_can_reach_is_refused_and_the_message_mends_it(home, place, mode):
    os.chmod(place, mode)
    with pytest.raises(ConfigurationError, match=f"chmod 600 {place}") as caught:
        found(home)
    assert shows(caught.value) is None
    # Who says both needs no login.
    assert found(home, hub_url=HERE, token="mine").token is not None
    os.chmod(place, 0o600)
    assert found(home).token is not None


def test_another_users_login_is_refused(home, place, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    with pytest.raises(ConfigurationError, match="another user"):
        found(home)


def test_a_link_is_neither_read_nor_written_through(home, place, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    os.unlink(place)
    os.symlink(victim, place)
    with pytest.raises(ConfigurationError, match="not a link"):
        found(home)
    login.save(KEPT, home)
    assert victim.read_text() == "untouched"
    assert not os.path.islink(place)


def test_a_write_that_fails_leaves_the_old_login_and_nothing_else(home, place, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigurationError, match="No space left"):
        login.save(Login(HERE, Secret(CANARY_SECRET)), home)
    monkeypatch.undo()
    assert found(home).token.reveal() == CANARY_TOKEN
    assert os.listdir(os.path.dirname(place)) == ["hub.json"]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"hub_url": 1}', '{"hub_url": "https://h", "token": 1}']
)
def test_a_broken_login_is_refused(home, place, text):
    with open(place, "w", encoding="utf-8") as file:
        file.write(text)
    with pytest.raises(ConfigurationError, match="asyncstore login"):
        found(home)


@pytest.mark.parametrize("token", ["", " x", "x\n", "x y", "ü", "x\x00"])
def test_a_token_that_cannot_be_one_is_refused_and_not_repeated(home, token):
    with pytest.raises(ConfigurationError, match="token=") as caught:
        found(home, token=token and f"{CANARY_TOKEN}{token}")
    assert shows(caught.value) is None


@pytest.mark.parametrize("url", ["ftp://x", "https://", "https://me:it@x", "https://x/path", ""])
def test_an_address_that_is_none_is_refused(home, url):
    with pytest.raises(ConfigurationError, match="hub_url="):
        found(home, hub_url=url)


def test_nothing_of_a_login_shows(place, home):
    for value in (KEPT, found(home), found(home).identity):
        assert shows(value) is None


def test_a_tokens_own_word_for_its_user_is_taken_where_it_is_one():
    def token(payload):
        import base64

        return Secret(f"e30.{base64.urlsafe_b64encode(payload).decode().rstrip('=')}.c2ln")

    assert Hub(HERE, token(b'{"id": "ann"}'), "token=").identity == "ann (from token=)"
    for payload in (b"", b"{", b"[]", b'{"id": 5}', b'{"id": "\x1b[2J"}', b'{"id": "\\u001b"}'):
        assert Hub(HERE, token(payload), "token=").username is None
    assert Hub(HERE, Secret("plain"), "token=").username is None
