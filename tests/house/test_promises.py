"""Tests that the documentation names as its evidence are there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`((?:tests|asyncstore/testing)/[\w/]+\.py)(?:::(?:\w+::)?(\w+))?`")
PAGES = sorted(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts)
EVIDENCE = sorted(
    {
        (page.relative_to(ROOT).as_posix(), *found.groups())
        for page in PAGES
        for found in NAMED.finditer(page.read_text(encoding="utf-8"))
    },
    key=str,
)


@cache
def functions(file):
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds)}


@pytest.mark.parametrize(("page", "file", "name"), EVIDENCE)
def test_a_test_named_in_the_documentation_exists(page, file, name):
    assert (ROOT / file).is_file(), page
    assert name is None or name in functions(file), page


@pytest.mark.parametrize("name", ["safety", "engine"])
def test_the_promises_name_their_tests(name):
    assert sum(page == f"docs/why/{name}.md" for page, _, _ in EVIDENCE) > 40
