"""How the documentation is built; see `docs/index.md`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncstore

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "asyncstore"
author = "The asyncstore authors"
copyright = "The asyncstore authors"  # noqa: A001 - Sphinx's name for it
version = release = asyncstore.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
default_role = "code"  # a single backtick means code, in docstrings as in Markdown

html_theme = "furo"
html_title = f"asyncstore {release}"
html_show_sphinx = False

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

# `Store` is a name in the sync face too; a mention of it may mean either.
suppress_warnings = ["ref.python"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_preserve_defaults = True
autoclass_content = "class"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True


def mark_code(
    _app: Any, _what: str, _name: str, _obj: Any, _options: Any, lines: list[str]
) -> None:
    """Take an indented block behind a blank line for code, as Markdown does."""
    for index in range(len(lines) - 1, 1, -1):
        line, blank, before = lines[index], lines[index - 1], lines[index - 2]
        last = len(before) - len(before.lstrip())
        deep = len(line) - len(line.lstrip())
        if line.strip() and before.strip() and not blank.strip() and deep >= last + 4:
            lines[index:index] = [" " * last + "::", ""]


def setup(app: Sphinx) -> None:
    """Connect what is above; before napoleon reads the sections."""
    app.connect("autodoc-process-docstring", mark_code, priority=100)
