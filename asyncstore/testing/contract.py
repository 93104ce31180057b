"""One suite that says what "works" means, for every provider: ours and anybody's."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest

from asyncstore.errors import NotFoundError, StoreError
from asyncstore.provider import ability
from asyncstore.testing.begun import BegunReads
from asyncstore.testing.cancelling import Cancelling
from asyncstore.testing.keys import Keys
from asyncstore.testing.listings import Listings
from asyncstore.testing.reads import Reads
from asyncstore.testing.resumed import ResumedUploads
from asyncstore.testing.terms import Terms
from asyncstore.testing.uploads import Uploads
from asyncstore.testing.writes import Writes
from asyncstore.types import Limits

if TYPE_CHECKING:
    from asyncstore.provider import Provider


class Lifecycle(Terms):
    """What a provider promises beside its operations."""

    async def test_limits_are_told(self, provider: Provider) -> None:
        assert isinstance(provider.limits, Limits)
        assert provider.limits.part_min <= provider.limits.part_max
        assert provider.limits.put <= provider.limits.object_max

    async def test_a_key_has_a_url(self, provider: Provider, root: str) -> None:
        assert provider.locate(root + "a").endswith("/" + root + "a")

    async def test_closing_twice_is_as_once(self, provider: Provider, root: str) -> None:
        await provider.put(root + "a", b"x")
        await provider.aclose()
        await provider.aclose()

    async def test_closing_what_was_never_used_is_nothing(self, provider: Provider) -> None:
        await provider.aclose()

    async def test_errors_pickle_with_what_they_know(self, provider: Provider, root: str) -> None:
        with pytest.raises(StoreError) as caught:
            await provider.get(root + "no")
        again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own
        assert type(again) is NotFoundError
        assert again.__dict__ == caught.value.__dict__
        assert str(again) == str(caught.value)

    def test_an_ability_is_found_only_where_it_is(self, provider: Provider) -> None:
        class Missing:
            pass

        assert ability(provider, Missing) is None


class ProviderContract(
    Reads, BegunReads, Writes, Uploads, ResumedUploads, Listings, Keys, Cancelling, Lifecycle
):
    """Inherit this, give a `provider` fixture, and pytest says whether the provider works.

    The fixture is an async generator, run by anyio's plugin in the test's own event loop:

        class TestMine(ProviderContract):
            @pytest.fixture
            async def provider(self, anyio_backend, server):
                provider = MyProvider(server.url)
                yield provider
                await provider.aclose()

    Each test keeps to keys below a `root` of its own, so that one bucket serves them all.
    What a service does otherwise is said in the attributes of `Terms`, one narrow promise each.
    """

    pytestmark = pytest.mark.anyio
