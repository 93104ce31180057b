"""Where a transfer keeps its record is the test's own folder."""

from __future__ import annotations

import os

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
