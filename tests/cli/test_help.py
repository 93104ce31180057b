"""The help has examples, the examples work, and the documentation is the help."""

import contextlib
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from asyncstore.cli.app import app
from asyncstore.cli.command import Command
from asyncstore.cli.group import leaves
from asyncstore.cli.reference import reference
from asyncstore.errors import AlreadyExistsError, NotFoundError, PermissionDeniedError
from asyncstore.testing.canary import CANARY_SECRET
from asyncstore.testing.google_standins import ACCOUNT, private_key_pem
from asyncstore.testing.hubs import ADMINISTRATOR, PASSWORD, RealHub

ROOT = Path(__file__).parents[2]
COMMANDS = dict(leaves(app))
EXAMPLES = [
    pytest.param(example.line, id=example.line)
    for name, command in COMMANDS.items()
    if isinstance(command, Command)
    if name != "hub serve"  # which does not end; tests/hub/test_serve.py runs its examples
    for example in command.examples
]


ROLE = "arn:aws:iam::123456789012:role/lake"
SERVICE_ACCOUNT = {
    "type": "service_account",
    "project_id": "an-example",
    "client_email": ACCOUNT,
    "private_key": private_key_pem(),
    "private_key_id": "key-1",
}


def test_the_reference_is_what_the_help_says():
    page = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    assert page == reference(), "run: python -m asyncstore.cli.reference docs/reference/cli.md"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_commands_help_has_its_options_and_examples(cli, name):
    command = COMMANDS[name]
    assert isinstance(command, Command)
    text = cli(*name.split(), "--help").out
    assert command.examples
    for example in command.examples:
        assert example.line in text
        assert shlex.split(example.line.split("|")[0])[0] in ("asyncstore", "echo")
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
            assert parameter.opts[0] in text


def test_the_exit_codes_are_in_the_help(cli):
    assert "130" in cli("--help").out


@pytest.fixture(scope="module")
def new_hub():
    """A hub that nobody has been made the administrator of."""
    with RealHub(bootstrap=False) as hub:
        yield hub


@pytest.fixture(scope="module")
def here(seaweedfs, fake_gcs, real_hub, tmp_path_factory):
    """A folder with the examples' files, and an environment with their buckets and their hub."""
    folder = tmp_path_factory.mktemp("examples")
    environment = {
        "AWS_ENDPOINT_URL": seaweedfs.url,
        "AWS_ACCESS_KEY_ID": seaweedfs.access_key,
        "AWS_SECRET_ACCESS_KEY": seaweedfs.secret_key,
        "AWS_REGION": seaweedfs.region,
        "STORAGE_EMULATOR_HOST": fake_gcs.url,
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(folder),
        "HUB": real_hub.url,
        "ASYNCSTORE_HUB_URL": real_hub.url,
        "ROLE": ROLE,
    }
    seaweedfs.make_bucket("bucket")
    fake_gcs.make_bucket("bucket")
    return folder, environment


OF_A_HUB = ("login", "logout", "whoami", "register", "tokens", "creds", "org", "hub")


def signed_in(request, words, hub):
    """Return what an example about a hub finds in its environment."""
    if words[1:3] == ["hub", "bootstrap"]:
        new = request.getfixturevalue("new_hub")
        return {"ASYNCSTORE_HUB_URL": new.url, "CODE": new.code}
    if words[1] == "unregister":
        return {"ACTIVELOOP_TOKEN": hub.person("leaver")}
    if words[1:3] == ["hub", "remove-user"]:
        hub.person(words[3])
        return {"ACTIVELOOP_TOKEN": hub.tokens[ADMINISTRATOR]}
    if words[1] not in OF_A_HUB and "hub://acme" not in words:
        return {}
    for name in ("ann", "eve", "mallory"):
        token = hub.person(name)
    token = hub.person("ann")
    token_id = hub.ask(settle, token=token)
    return {"ACTIVELOOP_TOKEN": token, "TOKEN_ID": token_id}


async def settle(api):
    """Make what the examples about a hub are about; what is there already stays."""
    for name in ("acme", "old-lab"):
        with contextlib.suppress(AlreadyExistsError):
            await api.create_organization(name)
    with contextlib.suppress(NotFoundError, PermissionDeniedError):
        await api.delete_organization("lab")
    await api._client.register("acme", "photos", {}, public=False)
    await api.set_member("acme", "mallory", "read")
    pair = {"access_key": "AKIAEXAMPLE", "secret_key": CANARY_SECRET}
    await api.set_credentials("acme", "unused", {"kind": "aws", "role_arn": ROLE, **pair})
    return (await api.create_token("an example", expires_in=60, access="read")).id


@pytest.fixture
def place(request, here, cli, monkeypatch, real_hub):
    """The same, as each example finds it."""
    folder, environment = here
    words = request.node.callspec.params["line"].split()
    environment = environment | signed_in(request, words, real_hub)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    (work / "photos").mkdir(parents=True)
    (work / "password.txt").write_text(PASSWORD)
    (work / "secret.txt").write_text(CANARY_SECRET)
    (work / "key.json").write_text(json.dumps(SERVICE_ACCOUNT))
    for name in ("notes.txt", "a.log", "b.log", "photos/cat.raw", "photos/dog.raw"):
        (work / name).write_text(f"the contents of {name}\n")
    for bucket in ("s3://bucket", "gs://bucket"):
        cli("rm", "-r", "--yes", bucket)
        assert cli("cp", "-r", work / "photos", f"{bucket}/photos").code == 0
        for name in ("notes.txt", "b.log", "a.txt", "old.txt"):
            assert cli("cp", "-", f"{bucket}/{name}", stdin=b"contents\n").code == 0
    return work, environment


def complaints(text):
    return [line for line in text.splitlines() if not line.startswith("plan: ")]


@pytest.mark.parametrize("line", EXAMPLES)
def test_an_example_works_as_it_stands(place, line):
    work, environment = place
    ended = subprocess.run(
        ["bash", "-c", line],
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert ended.returncode == 0, ended.stderr
    assert not complaints(ended.stderr)
    assert ended.stdout or ">" in line


def test_the_tutorials_lines_work_as_they_stand(tmp_path):
    page = (ROOT / "docs" / "tutorial" / "command-line.md").read_text(encoding="utf-8")
    blocks = [block.partition("```")[0] for block in page.split("```sh\n")[1:]]
    assert len(blocks) == 4
    ended = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(blocks)],
        cwd=tmp_path,
        env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert ended.returncode == 0, ended.stderr
    assert "verified  3,000 of 3,000 chunks" in ended.stdout
    assert "verified  2 of 2 files" in ended.stdout
    assert complaints(ended.stderr) == [
        f"asyncstore: head {tmp_path}/store/absent.txt: no such object (ENOENT)"
    ]
