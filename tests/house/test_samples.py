"""Code in the README and the documentation runs as it stands.

The blocks of one page are one program. `s3://my-bucket`, `gs://my-bucket` and
`hub://my-org` are there for them.
A comment `<!-- not run: reason -->` before a block leaves it at being valid Python.
"""

from __future__ import annotations

import ast
import asyncio
import gc
import inspect
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(p for p in (ROOT / "docs").rglob("*.md") if "_build" not in p.parts),
]
BLOCK = re.compile(
    r"(?P<not_run><!-- not run: [^>]+-->\n+)?^(?P<indent> *)```python\n(?P<code>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)


def blocks(page):
    text = page.read_text(encoding="utf-8")
    for found in BLOCK.finditer(text):
        line = text.count("\n", 0, found.start("code"))
        indent = len(found["indent"])
        code = "\n".join(row[indent:] for row in found["code"].splitlines())
        yield line, code, bool(found["not_run"])


def compiled(page, line, code):
    # A notebook's cell may await at the top.
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    return compile("\n" * line + code, str(page), "exec", flags=flags, dont_inherit=True)


WITH_CODE = [page for page in PAGES if list(blocks(page))]


@pytest.fixture
def clouds(request, monkeypatch):
    def clouds(code):
        if "s3://my-bucket" in code:
            server = request.getfixturevalue("s3_for_samples")
            monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.access_key)
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.secret_key)
            monkeypatch.setenv("AWS_REGION", server.region)
        if re.search(r"(gs|gcs|gcp)://my-bucket", code):
            server = request.getfixturevalue("gcs_for_samples")
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        if "hub://my-org" in code:
            server = request.getfixturevalue("real_hub")
            monkeypatch.setenv("ASYNCSTORE_HUB_URL", server.url)
            monkeypatch.setenv("ACTIVELOOP_TOKEN", server.person("my-org"))

    return clouds


@pytest.fixture(scope="module")
def s3_for_samples(seaweedfs):
    seaweedfs.make_bucket("my-bucket")
    return seaweedfs


@pytest.fixture(scope="module")
def gcs_for_samples(fake_gcs):
    fake_gcs.make_bucket("my-bucket")
    return fake_gcs


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_code_on_a_page_runs(page, clouds, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    program = [(compiled(page, line, code), skip, code) for line, code, skip in blocks(page)]
    clouds("".join(code for _, skip, code in program if not skip))
    names = {"__name__": "__main__", "__file__": str(page)}
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])

    for code, skip, _ in program:
        if not skip:
            run(code, names)

    names.clear()
    gc.collect()  # what the page left open is told here, and not in another test


def run(code, names):
    result = eval(code, names)  # noqa: S307 - our own pages
    if inspect.isawaitable(result):
        asyncio.run(_finish(result))


async def _finish(result):
    await result
