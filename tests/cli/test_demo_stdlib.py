"""The demo on CPython's own standard library: thousands of real files, there and back."""

import os
import shutil
import subprocess
import sysconfig

import pytest


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """The interpreter's library as it stands now; what is installed beside it left out."""
    folder = tmp_path_factory.mktemp("library") / "source"
    shutil.copytree(
        sysconfig.get_paths()["stdlib"],
        folder,
        symlinks=True,
        ignore=shutil.ignore_patterns("site-packages", "dist-packages", "*.opt-?.pyc"),
    )
    return folder


def count(folder):
    """Count regular files and links."""
    paths = [os.path.join(where, name) for where, _, names in os.walk(folder) for name in names]
    links = sum(os.path.islink(path) for path in paths)
    return len(paths) - links, links


@pytest.fixture(params=["local", "s3"])
def place(request, tmp_path, s3):
    return str(tmp_path / "demo") if request.param == "local" else f"s3://{s3()}/demo"


@pytest.mark.timeout(300)
def test_the_standard_library_comes_back_as_it_was(cli, library, place, tmp_path):
    files, links = count(library)
    assert files > 1_000
    copy = tmp_path / "copy"
    ended = cli("demo", place, "--source", library, "--download-to", copy, "--json")
    assert ended.code == 0, ended.err
    said = {record["type"]: record for record in ended.records if record["type"] != "skipped"}
    assert said["wrote"]["objects"] == said["listed"]["objects"] == files
    assert said["verified"] == {"type": "verified", "objects": files, "ok": True}
    skipped = {r["kind"]: r["count"] for r in ended.records if r["type"] == "skipped"}
    assert skipped.get("symbolic link", 0) == links

    # Another program's word: only what was said to be left out differs.
    compared = subprocess.run(
        ["diff", "-r", "--no-dereference", library, copy],
        capture_output=True,
        text=True,
        check=False,
    )
    assert all(line.startswith(f"Only in {library}") for line in compared.stdout.splitlines())
    assert len(compared.stdout.splitlines()) <= links + skipped.get("empty folder", 0)
    assert cli("ls", "-r", place).code == 3
