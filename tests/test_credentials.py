"""Credentials are renewed in time, once for everybody, and never shown."""

import asyncio
import copy
import json
import logging
import pickle
import traceback
from dataclasses import dataclass

import pytest

from asyncstore.credentials import Refreshing, Secret, masked
from asyncstore.errors import ConfigurationError, UnauthenticatedError, UnavailableError


@dataclass
class Token:
    name: str
    expires_at: float | None = None


class Source:
    """Hands out tokens that live for `life` seconds, or raises what it is told to."""

    def __init__(self, life=1000.0):
        self.now = 1_000_000.0
        self.life = life
        self.calls = 0
        self.error = None
        self.gate = None

    def clock(self):
        return self.now

    async def __call__(self):
        self.calls += 1
        call = self.calls
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        return Token(f"token {call}", None if self.life is None else self.now + self.life)


def refreshing(source):
    return Refreshing(source, clock=source.clock)


@pytest.mark.asyncio
async def test_ten_thousand_tasks_renew_once():
    source = Source()
    source.gate = asyncio.Event()
    current = refreshing(source)
    tasks = [asyncio.create_task(current.get()) for _ in range(10_000)]
    await asyncio.sleep(0)
    source.gate.set()
    tokens = await asyncio.gather(*tasks)
    assert source.calls == 1
    assert {token.name for token in tokens} == {"token 1"}


@pytest.mark.asyncio
async def test_what_holds_is_handed_out_without_waiting():
    source = Source()
    current = refreshing(source)
    assert current.current() is None
    token = await current.get()
    source.now += 600
    assert current.current() is token
    assert await current.get() is token
    assert source.calls == 1


@pytest.mark.asyncio
@pytest.mark.parametrize(("life", "renewed_at"), [(10_000, 9_700), (1_200, 900), (400, 300)])
async def test_renewal_begins_a_margin_before_the_end(life, renewed_at):
    source = Source(life)
    current = refreshing(source)
    await current.get()
    source.now += renewed_at - 1
    await current.get()
    assert source.calls == 1
    source.now += 1
    await current.get()
    assert source.calls == 2


@pytest.mark.asyncio
async def test_a_renewal_that_takes_long_holds_nobody_up_while_the_old_ones_hold(monkeypatch):
    monkeypatch.setattr("asyncstore.credentials._PATIENCE", 0.02)
    source = Source(400)
    current = refreshing(source)
    token = await current.get()
    assert current.is_young(token)
    source.now += 300
    assert not current.is_young(token)
    source.gate = asyncio.Event()
    assert await current.get() is token
    assert current.current() is token  # nobody else waits, for a while
    source.now += 99
    assert await current.get() is token
    assert source.calls == 2
    source.gate.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (await current.get()).name == "token 2"
    assert source.calls == 2


@pytest.mark.asyncio
async def test_a_renewal_is_waited_for_once_the_old_ones_have_ended(monkeypatch):
    monkeypatch.setattr("asyncstore.credentials._PATIENCE", 0.02)
    source = Source(400)
    current = refreshing(source)
    await current.get()
    source.now += 400
    source.gate = asyncio.Event()
    waiting = asyncio.create_task(current.get())
    done, _ = await asyncio.wait([waiting], timeout=0.1)
    assert not done
    source.gate.set()
    assert (await waiting).name == "token 2"


@pytest.mark.asyncio
async def test_credentials_without_an_end_are_fetched_once():
    source = Source(life=None)
    current = refreshing(source)
    await current.get()
    source.now += 1e9
    await current.get()
    assert source.calls == 1


@pytest.mark.asyncio
async def test_a_cancelled_waiter_cancels_nobody_else():
    source = Source()
    source.gate = asyncio.Event()
    current = refreshing(source)
    first, second, third = (asyncio.create_task(current.get()) for _ in range(3))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    source.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert (await second).name == (await third).name == "token 1"
    assert source.calls == 1


@pytest.mark.asyncio
async def test_when_all_waiters_are_cancelled_the_renewal_is_there_for_the_next():
    source = Source()
    source.gate = asyncio.Event()
    current = refreshing(source)
    waiter = asyncio.create_task(current.get())
    await asyncio.sleep(0)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    source.gate.set()
    assert (await current.get()).name == "token 1"
    assert source.calls == 1


@pytest.mark.asyncio
async def test_a_failed_renewal_is_not_felt_while_the_old_hold():
    source = Source(1_000)
    current = refreshing(source)
    token = await current.get()
    source.now += 800
    source.error = UnavailableError("no answer")
    assert await current.get() is token
    assert await current.get() is token
    assert source.calls == 2, "a failing source is not asked for each request"
    source.now += 6
    assert await current.get() is token
    assert source.calls == 3
    source.error = None
    source.now += 6
    assert (await current.get()).name == "token 4"


@pytest.mark.asyncio
async def test_once_the_old_have_ended_the_error_is_the_callers():
    source = Source(1_000)
    current = refreshing(source)
    await current.get()
    source.now += 1_001
    source.error = UnavailableError("no answer")
    with pytest.raises(UnavailableError):
        await current.get()
    source.error = None
    assert (await current.get()).name == "token 3"


@pytest.mark.asyncio
async def test_the_first_failure_is_the_callers():
    source = Source()
    source.error = UnauthenticatedError("signed out")
    with pytest.raises(UnauthenticatedError):
        await refreshing(source).get()


@pytest.mark.asyncio
async def test_credentials_that_have_ended_already_are_refused():
    with pytest.raises(UnauthenticatedError):
        await refreshing(Source(life=-1)).get()


@pytest.mark.asyncio
async def test_refused_credentials_are_renewed_once_for_all_who_used_them():
    source = Source()
    current = refreshing(source)
    token = await current.get()
    current.invalidate(token)
    again = await current.get()
    assert again is not token
    current.invalidate(token)  # a late answer to the old ones
    assert await current.get() is again
    assert source.calls == 2


@pytest.mark.asyncio
async def test_a_plain_function_is_a_source():
    calls = []

    def source():
        calls.append(1)
        return Token("plain")

    current = Refreshing(source)
    assert (await current.get()).name == "plain"
    await current.get()
    assert calls == [1]


@pytest.mark.asyncio
async def test_what_a_source_raises_may_hold_a_secret_and_is_not_shown():
    def source():
        secret = "canary-" + "secret"
        raise ValueError(f"bad key {secret}")

    with pytest.raises(ConfigurationError) as caught:
        await Refreshing(source).get()
    assert "ValueError" in str(caught.value)
    assert "canary-secret" not in str(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None
    shown = "".join(traceback.format_exception(caught.value))
    assert "canary-secret" not in shown


@pytest.mark.asyncio
async def test_closing_ends_a_renewal_under_way():
    source = Source()
    source.gate = asyncio.Event()
    current = refreshing(source)
    waiter = asyncio.create_task(current.get())
    await asyncio.sleep(0)
    await current.aclose()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    await current.aclose()


def test_a_renewal_that_died_with_its_event_loop_is_begun_again():
    source = Source()
    current = refreshing(source)
    loop = asyncio.new_event_loop()
    source.gate = asyncio.Event()
    left = loop.create_task(current.get())
    loop.run_until_complete(asyncio.sleep(0.01))
    source.gate = None
    assert asyncio.run(current.get()).name == "token 2"
    for task in asyncio.all_tasks(loop):
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(left)
    loop.close()


def test_one_source_serves_one_event_loop_after_another():
    source = Source()
    current = refreshing(source)
    asyncio.run(current.get())
    source.now += 2_000
    assert asyncio.run(current.get()).name == "token 2"


def test_a_secret_is_shown_by_nothing_but_reveal(caplog):
    secret = Secret("canary-secret")
    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret:>40}",
        "%s %r" % (secret, secret),  # noqa: UP031 - one of the ways
        repr([secret]),
        repr({"key": secret}),
    ]
    logging.getLogger("x").warning("with %s", secret)
    assert not [text for text in [*shown, caplog.text] if "canary" in text]
    assert secret.reveal() == "canary-secret"


def test_a_secret_does_not_travel():
    secret = Secret("canary-secret")
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError):
            pickle.dumps(secret, protocol)
    with pytest.raises(TypeError):
        copy.deepcopy(secret)
    with pytest.raises(TypeError):
        json.dumps(secret)
    with pytest.raises(TypeError):
        vars(secret)


def test_secrets_compare_by_what_they_hide():
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    assert not Secret("")


@pytest.mark.parametrize(
    ("name", "shown"),
    [("AKIAABCDEFGHWXYZ", "AKIA…WXYZ"), ("short", "sh…"), ("", "…"), ("twelve-chars", "tw…")],
)
def test_an_identity_is_shortened(name, shown):
    assert masked(name) == shown
