"""Secrets at rest: a row opens as it was sealed, for itself alone, with the key that sealed it."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncstore.errors import ConfigurationError, IntegrityError
from asyncstore.hub.minting import Vault
from asyncstore.testing.canary import CANARY_SECRET, find, shows

KEY, OTHER = os.urandom(32), os.urandom(32)
SECRET = {"kind": "aws", "secret_key": CANARY_SECRET}


def test_a_row_opens_as_it_was_sealed():
    assert Vault(KEY).open("row-1", Vault(KEY).seal("row-1", SECRET)) == SECRET


def test_what_is_sealed_shows_nothing_and_is_never_the_same_twice():
    vault = Vault(KEY)
    first, second = (vault.seal("row-1", SECRET) for _ in range(2))
    assert find(first) is None
    assert first[12:] != second[12:]
    assert not shows(vault)


def test_rows_that_are_swapped_do_not_open():
    vault = Vault(KEY)
    mine, theirs = vault.seal("mine", SECRET), vault.seal("theirs", {"kind": "gcs"})
    for row, sealed in (("mine", theirs), ("theirs", mine)):
        with pytest.raises(IntegrityError, match="another row"):
            vault.open(row, sealed)


@given(st.data())
def test_a_row_that_was_altered_anywhere_does_not_open(data):
    sealed = bytearray(Vault(KEY).seal("row-1", SECRET))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises((IntegrityError, ConfigurationError)):
        Vault(KEY).open("row-1", bytes(sealed))


@given(st.integers(min_value=0))
def test_a_row_that_was_cut_does_not_open(length):
    sealed = Vault(KEY).seal("row-1", SECRET)
    with pytest.raises(IntegrityError):
        Vault(KEY).open("row-1", sealed[: length % len(sealed)])


def test_parts_of_two_rows_that_one_key_sealed_do_not_open_together():
    vault = Vault(KEY)
    one, two = vault.seal("row-1", SECRET), vault.seal("row-1", {"kind": "gcs"})
    wrapped = 12 + 12 + 48
    with pytest.raises(IntegrityError):
        vault.open("row-1", one[:wrapped] + two[wrapped:])


def test_an_older_key_opens_what_it_sealed_until_it_is_sealed_anew():
    sealed = Vault(OTHER).seal("row-1", SECRET)
    vault = Vault(KEY, older=[OTHER])
    assert not vault.is_current(sealed)
    anew = vault.seal("row-1", vault.open("row-1", sealed))
    assert vault.is_current(anew)
    assert Vault(KEY).open("row-1", anew) == SECRET


def test_a_row_of_a_key_that_is_gone_says_which_key_it_wants():
    sealed = Vault(OTHER).seal("row-1", SECRET)
    with pytest.raises(ConfigurationError, match=Vault(OTHER).key_id.hex()):
        Vault(KEY).open("row-1", sealed)


@pytest.mark.parametrize("key", [b"", b"short", bytes(31), bytes(33), "x" * 32])
def test_a_key_of_another_length_is_refused(key):
    with pytest.raises(ConfigurationError, match="32 random bytes"):
        Vault(key)
    with pytest.raises(ConfigurationError, match="32 random bytes"):
        Vault(KEY, older=[key])
