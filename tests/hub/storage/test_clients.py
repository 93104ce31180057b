"""Real clients of S3, each with keys for one prefix: they work inside it and nowhere else."""

from __future__ import annotations

import os
import secrets
import subprocess

import boto3
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
import pytest
from aiobotocore.session import get_session
from botocore.config import Config
from botocore.exceptions import ClientError

from asyncstore.testing.process import program

BUCKET = "org-tests"


@pytest.fixture
def prefix(hub_storage):
    """A data set of this test's own, with an object of another one's beside it."""
    name = secrets.token_hex(6)
    client = hub_storage.client(**hub_storage.keys(f"{name}-other/"))
    client.put_object(Bucket=BUCKET, Key=f"{name}-other/secret", Body=b"another tenant's")
    client.close()
    return f"{name}/"


@pytest.fixture
def outside(prefix):
    return f"{prefix[:-1]}-other/secret"


def settings(server, keys):
    return {
        "endpoint_url": server.url,
        "region_name": "us-east-1",
        "aws_access_key_id": keys["access_key"],
        "aws_secret_access_key": keys["secret_key"],
        "aws_session_token": keys["session_token"],
    }


def refused(call, *args, **keywords):
    with pytest.raises(ClientError) as caught:
        call(*args, **keywords)
    told = caught.value.response
    return told["ResponseMetadata"]["HTTPStatusCode"], told["Error"]["Code"]


def test_boto3_does_everything_inside_its_prefix_and_nothing_outside(
    hub_storage, prefix, outside, tmp_path
):
    s3 = boto3.client("s3", **settings(hub_storage, hub_storage.keys(prefix)))
    data = os.urandom(17 << 20)
    (tmp_path / "large").write_bytes(data)
    s3.upload_file(str(tmp_path / "large"), BUCKET, prefix + "large")  # in parts
    s3.download_file(BUCKET, prefix + "large", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == data
    assert s3.head_object(Bucket=BUCKET, Key=prefix + "large")["ETag"].endswith('-3"')
    for kind in ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"):
        key = f"{prefix}sums/{kind}"
        put = s3.put_object(Bucket=BUCKET, Key=key, Body=b"checked", ChecksumAlgorithm=kind)
        got = s3.get_object(Bucket=BUCKET, Key=key, ChecksumMode="ENABLED")
        assert got["Body"].read() == b"checked"
        assert got[f"Checksum{kind}"] == put[f"Checksum{kind}"]
    s3.copy({"Bucket": BUCKET, "Key": prefix + "large"}, BUCKET, prefix + "copy")
    keys = [row["Key"] for row in s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix)["Contents"]]
    assert len(keys) == 7
    assert s3.list_buckets()["Buckets"][0]["Name"] == BUCKET
    assert s3.get_bucket_location(Bucket=BUCKET)["LocationConstraint"] is None
    gone = s3.delete_objects(
        Bucket=BUCKET, Delete={"Objects": [{"Key": key} for key in [*keys, outside]]}
    )
    assert len(gone["Deleted"]) == 7
    assert [(e["Key"], e["Code"]) for e in gone["Errors"]] == [(outside, "AccessDenied")]

    denied = (403, "AccessDenied")
    assert refused(s3.get_object, Bucket=BUCKET, Key=outside) == denied
    assert refused(s3.put_object, Bucket=BUCKET, Key=outside, Body=b"x") == denied
    assert refused(s3.delete_object, Bucket=BUCKET, Key=outside) == denied
    assert refused(s3.list_objects_v2, Bucket=BUCKET) == denied
    assert refused(s3.list_multipart_uploads, Bucket=BUCKET) == denied
    assert refused(s3.head_object, Bucket=BUCKET, Key=outside)[0] == 403
    source = {"Bucket": BUCKET, "Key": outside}
    assert refused(s3.copy_object, Bucket=BUCKET, Key=prefix + "a", CopySource=source) == denied
    s3.close()


@pytest.mark.asyncio
async def test_aiobotocore_reads_and_writes_inside_its_prefix(hub_storage, prefix, outside):
    keys = settings(hub_storage, hub_storage.keys(prefix))
    # Without TLS, botocore would sign a trailer in frames; with this, the frames themselves too.
    config = Config(s3={"payload_signing_enabled": True})
    async with get_session().create_client("s3", config=config, **keys) as s3:
        await s3.put_object(Bucket=BUCKET, Key=prefix + "a", Body=b"hello")
        answer = await s3.get_object(Bucket=BUCKET, Key=prefix + "a", Range="bytes=1-3")
        async with answer["Body"] as body:
            assert await body.read() == b"ell"
        with pytest.raises(ClientError, match="AccessDenied"):
            await s3.get_object(Bucket=BUCKET, Key=outside)


def run(server, prefix, *command, **environment):
    keys = server.keys(prefix)
    environment |= {
        "AWS_ACCESS_KEY_ID": keys["access_key"],
        "AWS_SECRET_ACCESS_KEY": keys["secret_key"],
        "AWS_SESSION_TOKEN": keys["session_token"],
        "AWS_REGION": "us-east-1",
    }
    done = subprocess.run(
        (program(command[0]), *command[1:]),
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def tree(tmp_path):
    folder = tmp_path / "tree"
    (folder / "sub").mkdir(parents=True)
    (folder / "small").write_bytes(b"small")
    (folder / "sub" / "big").write_bytes(os.urandom(12 << 20))
    return folder


def same(one, other):
    names = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(other) for path in other.rglob("*") if path.is_file())
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


def test_s5cmd_copies_there_and_back_inside_its_prefix(
    hub_storage, prefix, outside, tree, tmp_path
):
    def s5cmd(*arguments):
        return run(hub_storage, prefix, "s5cmd", "--endpoint-url", hub_storage.url, *arguments)

    place = f"s3://{BUCKET}/{prefix}"
    assert s5cmd("cp", f"{tree}/", place)[0] == 0
    assert s5cmd("cp", f"{place}*", f"{tmp_path}/back/")[0] == 0
    assert same(tree, tmp_path / "back")
    assert "small" in s5cmd("ls", place)[1]
    assert s5cmd("mv", f"{place}small", f"{place}moved")[0] == 0
    assert s5cmd("rm", f"{place}*")[0] == 0
    status, said = s5cmd("cat", f"s3://{BUCKET}/{outside}")
    assert status != 0
    assert "403" in said


def test_rclone_copies_there_and_back_inside_its_prefix(
    hub_storage, prefix, outside, tree, tmp_path
):
    def rclone(*arguments):
        return run(
            hub_storage,
            prefix,
            *("rclone", "--retries", "1", *arguments),
            RCLONE_CONFIG=os.devnull,
            RCLONE_CONFIG_HUB_TYPE="s3",
            RCLONE_CONFIG_HUB_PROVIDER="Other",
            RCLONE_CONFIG_HUB_ENV_AUTH="true",
            RCLONE_CONFIG_HUB_ENDPOINT=hub_storage.url,
            RCLONE_CONFIG_HUB_REGION="us-east-1",
        )

    place = f"hub:{BUCKET}/{prefix}".rstrip("/")
    status, said = rclone("copy", str(tree), place)
    assert status == 0, said
    assert rclone("check", "--download", str(tree), place)[0] == 0
    assert rclone("copy", place, str(tmp_path / "back"))[0] == 0
    assert same(tree, tmp_path / "back")
    assert rclone("copyto", f"{place}/sub/big", f"{place}/sub/copied")[0] == 0
    status, said = rclone("copyto", f"{tree}/small", f"hub:{BUCKET}/{outside}")
    assert status != 0
    assert "403" in said


def test_pyarrow_keeps_a_partitioned_data_set_inside_its_prefix(hub_storage, prefix, outside):
    keys = hub_storage.keys(prefix)
    files = pyarrow.fs.S3FileSystem(
        access_key=keys["access_key"],
        secret_key=keys["secret_key"],
        session_token=keys["session_token"],
        endpoint_override=hub_storage.url.removeprefix("http://"),
        scheme="http",
        region="us-east-1",
    )
    table = pa.table({"n": range(10_000), "part": [n % 3 for n in range(10_000)]})
    place = f"{BUCKET}/{prefix}set"
    pq.write_to_dataset(table, place, partition_cols=["part"], filesystem=files)
    back = pq.read_table(place, filesystem=files)
    assert sorted(back["n"].to_pylist()) == list(range(10_000))
    with files.open_output_stream(f"{BUCKET}/{prefix}large") as out:
        for _ in range(3):
            out.write(os.urandom(6 << 20))
    assert files.get_file_info(f"{BUCKET}/{prefix}large").size == 18 << 20
    with pytest.raises(OSError, match="ACCESS_DENIED"):
        files.open_input_stream(f"{BUCKET}/{outside}")


def test_keys_that_read_do_not_write(hub_storage, prefix):
    writer = hub_storage.client(**hub_storage.keys(prefix))
    writer.put_object(Bucket=BUCKET, Key=prefix + "a", Body=b"kept")
    reader = hub_storage.client(**hub_storage.keys(prefix, "r"))
    assert reader.get_object(Bucket=BUCKET, Key=prefix + "a")["Body"].read() == b"kept"
    assert reader.list_objects_v2(Bucket=BUCKET, Prefix=prefix)["KeyCount"] == 1
    denied = (403, "AccessDenied")
    for call, more in (
        (reader.put_object, {"Body": b"x"}),
        (reader.delete_object, {}),
        (reader.create_multipart_upload, {}),
        (reader.copy_object, {"CopySource": {"Bucket": BUCKET, "Key": prefix + "a"}}),
    ):
        assert refused(call, Bucket=BUCKET, Key=prefix + "a", **more) == denied
    objects = {"Objects": [{"Key": prefix + "a"}]}
    assert refused(reader.delete_objects, Bucket=BUCKET, Delete=objects) == denied
    assert writer.get_object(Bucket=BUCKET, Key=prefix + "a")["Body"].read() == b"kept"
    writer.close()
    reader.close()
