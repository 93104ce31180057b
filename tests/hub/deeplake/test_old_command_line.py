"""The old command line, `activeloop` of Deep Lake 3.2.8: it registers, signs in and lists."""

from dataclasses import replace

import pytest

import asyncstore
from asyncstore import sync
from asyncstore.testing.canary import CANARY_PASSWORD
from asyncstore.testing.oracle import install
from tests.hub.deeplake.conftest import Client

pytestmark = pytest.mark.timeout(900)  # pip may have to install it first

OLD = ("deeplake==3.2.8", "numpy<2", "setuptools<81")

TYPED = """
import os
from click.testing import CliRunner
from deeplake.cli.commands import cli

def typed(*command, keys=()):
    done = CliRunner().invoke(cli, command, input="".join(f"{key}\\n" for key in keys))
    assert password not in done.output
    return done.exit_code, done.output

password, *rest = args
kept = os.path.expanduser("~/.activeloop/token")
"""


@pytest.fixture(scope="module")
def oracle():
    return install(requirements=OLD)


@pytest.fixture
def old(oracle, hub, tmp_path):
    return Client(replace(oracle, home=str(tmp_path)), hub)


def test_somebody_registers_works_and_lists(old):
    status, listed, read = old.run(
        TYPED
        + """
status, said = typed("register", keys=["iris", "iris@example.org", password])
assert "Successfully registered" in said, said
ds = deeplake.empty("hub://iris/old")
ds.create_tensor("x")
ds.x.extend([1, 2, 3])
ds.flush()
read = deeplake.load("hub://iris/old").x.numpy().ravel().tolist()
result = [status, typed("list-datasets", "-w", "iris")[1], read]
""",
        CANARY_PASSWORD,
        token=None,
    )
    assert status == 0
    assert "iris/old" in listed
    assert read == [1.0, 2.0, 3.0]
    with pytest.raises(asyncstore.DatasetNotFoundError):
        sync.load("hub://iris/old", token=old.hub.person("judy"), hub_url=old.hub.url)


def test_somebody_signs_in_with_the_right_password_alone_and_out(old):
    old.hub.person("karl")
    steps = old.run(
        TYPED
        + """
def signed():
    return os.path.exists(kept) and deeplake.client.client.DeepLakeBackendClient().request(
        "GET", "/api/user/profile").json()["_id"]

wrong = typed("login", keys=["karl", "not-it-1", "karl", "not-it-2", "karl", "not-it-3"])[1]
steps = ["3 unsuccessful attempts" in wrong, signed()]
steps += ["Successfully logged in" in typed("login", keys=["karl", password])[1], signed()]
typed("logout")
result = [*steps, os.path.exists(kept)]
""",
        CANARY_PASSWORD,
        token=None,
    )
    assert steps == [True, "public", True, "karl", False]
