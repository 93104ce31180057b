"""Where a transfer keeps its record is the test's own folder."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from asyncstore import open_store


@pytest.fixture(autouse=True)
def state(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    return folder


def tree(folder):
    """Return a folder's files, hidden ones and those being written included."""
    found = {}
    for at, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(at, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, folder)] = file.read()
    return found


def fill(folder, files):
    for key, data in files.items():
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


@pytest.fixture
def bucket(seaweedfs):
    """Return what opens a new bucket, with the events of its requests."""
    name = seaweedfs.make_bucket()

    def opened(**options):
        creds = {
            "aws_access_key_id": seaweedfs.access_key,
            "aws_secret_access_key": seaweedfs.secret_key,
        }
        return open_store(
            f"s3://{name}",
            creds=creds,
            endpoint_url=seaweedfs.url,
            region=seaweedfs.region,
            **options,
        )

    opened.name = name  # type: ignore[attr-defined]
    opened.uploads = lambda: (  # type: ignore[attr-defined]
        seaweedfs.client().list_multipart_uploads(Bucket=name).get("Uploads", [])
    )
    return opened


# ---- processes to be killed

KILLED = Path(__file__).with_name("killed.py")
MiB = 1 << 20


class Killer:
    """Runs transfers, and kills them.

    Attributes:
        told: what the next one is to do.
    """

    def __init__(self, process, told):
        self._process = process
        self.told = told

    def run(self, seconds=None):
        """Kill a transfer after so long; return its report if it had ended before."""
        report = Path(self.told["report"])
        report.unlink(missing_ok=True)
        self._process.stdin.write(json.dumps(self.told) + "\n")
        pid = int(self._process.stdout.readline())
        if seconds is not None:
            ended, _, _ = select.select([self._process.stdout], [], [], seconds)
            if not ended:
                with suppress(ProcessLookupError):  # it has ended by itself just now
                    os.kill(pid, signal.SIGKILL)
        status = int(self._process.stdout.readline())
        assert status in (0, signal.SIGKILL)
        return json.loads(report.read_text()) if status == 0 else None

    def run_to_the_end(self):
        report = self.run()
        assert report["failed"] == []
        return report


@pytest.fixture
def killer(told):
    with subprocess.Popen(
        [sys.executable, "-u", KILLED],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as process:
        yield Killer(process, told)
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture
def told(tmp_path):
    return {
        "path": str(tmp_path / "store"),
        "options": {},
        "folder": str(tmp_path / "folder"),
        "small": MiB,
        "part": MiB,
        "report": str(tmp_path / "report"),
    }
