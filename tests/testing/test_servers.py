from __future__ import annotations

import os

import pytest
from botocore.exceptions import ClientError

from asyncstore.testing.process import Process
from asyncstore.testing.servers import Rclone


@pytest.mark.parametrize("name", ["seaweedfs", "ministack", "moto", "rclone"])
def test_a_server_stores_an_object_and_refuses_a_wrong_secret(name, request):
    server = request.getfixturevalue(name)
    bucket = server.make_bucket()
    client, stranger = server.client(), server.client(secret_key="wrong")
    client.put_object(Bucket=bucket, Key="k", Body=b"hello")
    assert client.get_object(Bucket=bucket, Key="k")["Body"].read() == b"hello"
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        stranger.get_object(Bucket=bucket, Key="k")
    client.close()
    stranger.close()


def test_the_google_stand_in_makes_a_bucket(fake_gcs):
    assert fake_gcs.make_bucket().startswith("bucket-")


def test_a_stopped_server_leaves_no_process_and_no_folder():
    with Rclone() as server:
        pid, folder = server.process.pid, server.process.folder
    assert not os.path.exists(folder)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_server_that_does_not_start_raises_with_its_log():
    process = Process(lambda _: (("sh", "-c", "echo no such thing; exit 1"), {}), lambda: False)
    with pytest.raises(RuntimeError, match="no such thing"), process:
        pass
