"""The wheel: what is in it, and that it works where nothing else is installed."""

from __future__ import annotations

import subprocess
import sys
import textwrap
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
