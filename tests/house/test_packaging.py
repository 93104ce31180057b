"""The wheel: what is in it, and that it works where nothing else is installed."""

from __future__ import annotations

import ast
import subprocess
import sys
import sysconfig
import textwrap
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

import asyncstore

ROOT = Path(__file__).parents[2]
WITHOUT_EXTRAS = {"s3://bucket/path": "asyncstore[s3]", "gcs://bucket/path": "asyncstore[gcs]"}

pytestmark = pytest.mark.timeout(600)  # a package index may be slow


def run(*command: object, cwd: Path) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=cwd,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-cache-dir")
    run(*pip, "-w", folder, ROOT, cwd=folder)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def bare(wheel, tmp_path_factory):
    """Make an environment with the wheel and what it needs, and none of its extras."""
    folder = tmp_path_factory.mktemp("bare")
    venv.EnvBuilder(with_pip=True, symlinks=True).create(folder)
    scripts = folder / ("Scripts" if sys.platform == "win32" else "bin")
    run(scripts / "python", "-m", "pip", "install", "-q", wheel, cwd=folder)
    return scripts


@pytest.fixture(scope="session")
def full(wheel, tmp_path_factory):
    """Make an environment with the wheel, which finds this one's packages for its extras."""
    folder = tmp_path_factory.mktemp("full")
    venv.EnvBuilder(with_pip=False, symlinks=True).create(folder)
    scripts = folder / ("Scripts" if sys.platform == "win32" else "bin")
    pip = (sys.executable, "-m", "pip", "--python", scripts / "python", "install", "-q")
    run(*pip, "--no-deps", wheel, cwd=folder)
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(run(scripts / "python", "-c", code, cwd=folder).strip())
    # A path in such a file is looked at last, and its own such files not at all: what is
    # installed there for editing is not found.
    (site / "extras.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return scripts


# Imports every module, and tells of those that cannot be which package they lack.
IMPORT_ALL = """
    import asyncstore, importlib, pathlib, pkgutil
    home = pathlib.Path(asyncstore.__file__).parent
    assert "site-packages" in home.parts, home
    lacking = {}
    for found in pkgutil.walk_packages([str(home)], "asyncstore.", onerror=lambda name: None):
        if found.name.endswith("__main__") or ".migrations." in found.name:
            continue  # a program, and scripts that alembic runs
        try:
            module = importlib.import_module(found.name)
        except ModuleNotFoundError as error:
            lacking.setdefault(error.name.partition(".")[0], []).append(found.name)
        else:
            assert pathlib.Path(module.__file__).is_relative_to(home), module
    print(lacking)
"""


def test_the_wheel_holds_the_typed_package_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()

    assert "asyncstore/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    others = [n for n in names if not n.startswith(("asyncstore/", "asyncstore-"))]
    assert others == []
    assert not any("__pycache__" in name or name.endswith((".pyc", ".tmp")) for name in names)


def test_the_wheel_holds_every_module(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())

    for path in (ROOT / "asyncstore").rglob("*.py"):
        assert path.relative_to(ROOT).as_posix() in names


def test_the_bare_install_tells_its_version(bare, tmp_path):
    assert asyncstore.__version__ in run(bare / "asyncstore", "--version", cwd=tmp_path)
    code = "import asyncstore; print(asyncstore.__file__, asyncstore.__version__)"
    file, version = run(bare / "python", "-c", code, cwd=tmp_path).split()
    assert "site-packages" in file
    assert version == asyncstore.__version__


@pytest.mark.parametrize("path", ["mem://name", "data"])
def test_the_bare_install_stores_in_memory_and_on_disk(bare, tmp_path, path):
    code = f"""
        import asyncio, asyncstore

        async def main():
            async with asyncstore.open_store({path!r}) as store:
                await store.put("a/b", b"hello")
                assert bytes(await store.get("a/b")) == b"hello"
                assert [meta.key async for meta in store.list()] == ["a/b"]

        asyncio.run(main())
    """
    run(bare / "python", "-W", "error", "-c", textwrap.dedent(code), cwd=tmp_path)


def test_the_bare_install_imports_all_that_needs_no_extra(bare, tmp_path):
    lacking = ast.literal_eval(
        run(bare / "python", "-W", "error", "-c", textwrap.dedent(IMPORT_ALL), cwd=tmp_path)
    )
    needs = {module: name for name, modules in lacking.items() for module in modules}
    extras = ("asyncstore.providers.s3", "asyncstore.providers.gcs", "asyncstore.hub")
    others = {
        module: name
        for module, name in needs.items()
        if not module.startswith((*extras, "asyncstore.testing", "asyncstore.cli.embedded"))
    }
    assert others == {}
    assert all(any(module.startswith(extra) for module in needs) for extra in extras)


def test_the_full_install_imports_everything(full, tmp_path):
    said = run(full / "python", "-W", "error", "-c", textwrap.dedent(IMPORT_ALL), cwd=tmp_path)
    assert ast.literal_eval(said) == {}


@pytest.mark.parametrize("environment", ["bare", "full"])
def test_what_is_installed_does_not_slow_the_import_down(environment, request, tmp_path):
    python = request.getfixturevalue(environment) / "python"
    code = (
        "from time import perf_counter as now; began = now(); import asyncstore; "
        "print(asyncstore.__file__, now() - began)"
    )
    told = [run(python, "-c", code, cwd=tmp_path).split() for _ in range(5)]
    assert all("site-packages" in file for file, _ in told)
    assert min(float(seconds) for _, seconds in told) < 0.06


def test_the_full_install_runs_the_main_job_on_a_hub(full, tmp_path):
    said = run(full / "python", "-m", "asyncstore", "demo", "--chunks", "200", cwd=tmp_path)
    assert "hub://demo/chunks" in said
    assert "verified  200 of 200 chunks" in said


def test_every_package_of_an_extra_is_named_where_it_is_missing(bare, tmp_path):
    with open(ROOT / "pyproject.toml", "rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    said = run(bare / "asyncstore", "doctor", cwd=tmp_path)
    for extra in ("s3", "gcs", "hub-server", "uvloop"):
        (line,) = [line for line in said.splitlines() if line.startswith(f"{extra} ")]
        assert f"pip install 'asyncstore[{extra}]'" in line
        for requirement in extras[extra]:
            assert requirement.partition(">")[0].partition("[")[0] in line


def test_the_bare_install_says_what_a_hub_needs(bare, tmp_path):
    done = subprocess.run(
        [bare / "asyncstore", "hub", "serve", "--data", tmp_path / "hub"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "pip install 'asyncstore[hub-server]'" in done.stderr
    assert not (tmp_path / "hub").exists()


@pytest.mark.parametrize("path", WITHOUT_EXTRAS)
def test_the_bare_install_says_what_to_install_for_a_cloud(bare, tmp_path, path):
    code = f"""
        import asyncio, asyncstore

        async def main():
            async with asyncstore.open_store({path!r}) as store:
                await store.get("a/b")

        try:
            asyncio.run(main())
        except asyncstore.NotSupportedError as error:
            print(error)
    """
    said = run(bare / "python", "-W", "error", "-c", textwrap.dedent(code), cwd=tmp_path)
    assert f"pip install '{WITHOUT_EXTRAS[path]}'" in said


def test_the_bare_install_runs_the_main_job(bare, tmp_path):
    said = run(bare / "asyncstore", "demo", cwd=tmp_path)

    assert "verified" in said
