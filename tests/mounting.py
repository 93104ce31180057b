"""File systems of a test's own, where the system lets a process have some."""

from __future__ import annotations

import subprocess

import pytest


def mounted(folder: object, options: str = "") -> tuple[str, ...]:
    """Return what goes before a command that shall find a fresh tmpfs at `folder`."""
    mount = f'mount -t tmpfs {options} none {folder} && exec "$@"'
    return ("unshare", "-Urm", "sh", "-c", mount, "sh")


def _may_mount() -> bool:
    try:
        done = subprocess.run((*mounted("/mnt"), "true"), capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0


needs_mounts = pytest.mark.skipif(not _may_mount(), reason="platform: nobody may mount here")
