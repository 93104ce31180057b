"""What a role allows."""

from itertools import product

import pytest

from asyncstore.hub.models import Organization
from asyncstore.hub.organizations import Standing

ORDER = ["read", "write", "admin"]


@pytest.mark.parametrize(("role", "asked"), [*product(ORDER, ORDER)])
def test_a_role_allows_itself_and_less(role, asked):
    assert Standing(Organization(name="acme"), role).may(asked) == (
        ORDER.index(asked) <= ORDER.index(role)
    )
