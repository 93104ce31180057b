"""The browser login's cache: a JSON file that is its owner's alone, written whole or not at all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from asyncstore import private
from asyncstore.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

_AGAIN = "sign in with creds='browser'"


def cache_path(environ: Mapping[str, str] = os.environ, /) -> str:
    """Return where the cache is: in the user's configuration folder, never the working one."""
    return private.path_of("google.json", environ)


def load(path: str, /) -> dict[str, Any]:
    """Read the cache.

    Raises:
        ConfigurationError: there is none, it is broken, or somebody else could have read or
            written it; says what to do.
    """
    found = private.load(path, again=_AGAIN)
    if found is None:
        raise ConfigurationError(f"no Google login is kept in {path}; {_AGAIN} first")
    return found


save = private.save
