"""The documentation builds without a warning and has every public name, each with a docstring."""

from __future__ import annotations

import inspect
import posixpath
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import ParamSpec, TypeVar

import pytest
from sphinx.util.inventory import InventoryFile

ROOT = Path(__file__).parents[2]

# What users and implementors write against; the rest is the library's own.
PUBLIC = (
    "asyncstore",
    "asyncstore.credentials",
    "asyncstore.datasets",
    "asyncstore.errors",
    "asyncstore.layers",
    "asyncstore.provider",
    "asyncstore.registry",
    "asyncstore.sync",
    "asyncstore.testing",
    "asyncstore.transfer",
    "asyncstore.transfer",
    "asyncstore.types",
    "asyncstore.url",
)


def names(module):
    here = import_module(module)
    if hasattr(here, "__all__"):
        return sorted(here.__all__)
    return sorted(
        name
        for name, value in vars(here).items()
        if not name.startswith("_")
        if f"{getattr(value, '__module__', None)}.".startswith(f"{module}.")
        if not isinstance(value, TypeVar | ParamSpec)
    )


def homes(module, name):
    """Yield under which names the documentation may have it."""
    value = getattr(import_module(module), name)
    yield f"{module}.{name}"
    if getattr(value, "__module__", None):
        yield f"{value.__module__}.{getattr(value, '__qualname__', name)}"
    lazy = getattr(import_module(module), "_HOME", {})
    if name in lazy:
        yield f"{module}.{lazy[name]}.{name}"


def members(value):
    for name, member in vars(value).items():
        if name.startswith("_"):
            continue
        if inspect.isroutine(member) or inspect.isclass(member) or isinstance(member, property):
            yield name


CASES = [(module, name) for module in PUBLIC for name in names(module) if name != "__version__"]


@pytest.mark.parametrize(("module", "name"), CASES)
def test_a_public_name_has_a_docstring(module, name):
    value = getattr(import_module(module), name)
    if not (inspect.isclass(value) or inspect.isroutine(value) or inspect.ismodule(value)):
        return  # a constant or an alias: the inventory below has it only with a text beside it

    assert inspect.getdoc(value), f"{module}.{name}"
    if inspect.isclass(value) and value.__module__.startswith("asyncstore"):
        for member in members(value):
            assert inspect.getdoc(getattr(value, member)), f"{module}.{name}.{member}"


@pytest.fixture(scope="module")
def inventory(tmp_path_factory):
    out = tmp_path_factory.mktemp("docs")
    # Where git leaves nothing behind: a build in the tree would be searched by the next one.
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-d", out / "trees"]
    built = subprocess.run(
        [*command, "-b", "html", ROOT / "docs", out / "html"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    with open(out / "html" / "objects.inv", "rb") as file:
        told = InventoryFile.load(file, "", posixpath.join)
    return {name for kind, things in told.items() if kind.startswith("py:") for name in things}


def test_the_reference_has_every_public_name(inventory):
    missing = [f"{m}.{n}" for m, n in CASES if not inventory.intersection(homes(m, n))]

    assert missing == []
