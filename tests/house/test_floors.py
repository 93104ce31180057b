"""What no module may do, read from the source."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "asyncstore").rglob("*.py"))
CORE = [path for path in MODULES if "testing" not in path.parts]

# The SDK's place is behind the contract, so that a path of another scheme never loads it.
SDKS = {"aiobotocore", "botocore", "boto3", "gcloud", "aiohttp"}
MAY_KNOW_SDKS = ("providers", "http", "testing")

NEVER = {
    # S14: what came from a store is never code.
    "pickle.load",
    "pickle.loads",
    "marshal.load",
    "marshal.loads",
    "yaml.load",
    "eval",
    "exec",
    # S12: certificates are always verified.
    "ssl._create_unverified_context",
    "urllib3.disable_warnings",
    # A coroutine that sleeps so stops every other one.
    "time.sleep",
    "os.system",
}
# Each with its reason.
BUT = {("asyncstore/providers/local/locking.py", "time.sleep"): "in a worker thread"}
NEVER_SAID = {("verify", False), ("ssl", False), ("verify_ssl", False), ("allow_pickle", True)}


def ids(path):
    return path.relative_to(ROOT).as_posix()


def calls(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


@pytest.mark.parametrize("path", CORE, ids=ids)
def test_no_module_calls_what_is_dangerous(path):
    for call in calls(path):
        name = ast.unparse(call.func)
        assert name not in NEVER or (ids(path), name) in BUT, f"line {call.lineno}"
        for keyword in call.keywords:
            value = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
            assert (keyword.arg, value) not in NEVER_SAID, f"line {call.lineno}"


@pytest.mark.parametrize("path", CORE, ids=ids)
def test_an_sdk_is_known_behind_the_contract_alone(path):
    if path.relative_to(ROOT / "asyncstore").parts[0] in MAY_KNOW_SDKS:
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found = {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found = {(node.module or "").partition(".")[0]}
        else:
            continue
        assert not found & SDKS, f"line {node.lineno}"


@pytest.mark.parametrize("path", CORE, ids=ids)
def test_a_module_says_what_it_is_for(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_the_tour_in_contributing_names_every_floor():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = [
        one
        for one in settings["tool"]["importlinter"]["contracts"]
        if one["name"] == "Imports only point down"
    ]
    tour = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")

    assert contract["exhaustive"] is True
    for layer in contract["layers"]:
        for name in layer.replace("|", ":").split(":"):
            assert f"`{name.strip(' ()')}`" in tour or f"`{name.strip(' ()')}/`" in tour, name
