"""What only a real service shows: identities, refusals, links, and two services at once."""

import json
import re
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from asyncstore.providers.s3 import capabilities


@pytest.fixture
def bucket(cli, s3):
    """A bucket with one object, reached as the environment says."""
    bucket = s3()
    assert cli("cp", "-", f"s3://{bucket}/k", stdin=b"content").code == 0
    return bucket


@pytest.fixture
def stranger(monkeypatch):
    """Forget who the environment says one is, and where."""

    def forget():
        for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    return forget


def creds_file(tmp_path, **creds):
    path = tmp_path / "creds.json"
    path.write_text(json.dumps(creds))
    path.chmod(0o600)
    return path


def sent(method, url, body=None):
    """Send a request with nothing of ours in it; return the status and the answer."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc, timeout=30)
    try:
        connection.request(method, f"{parts.path}?{parts.query}", body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_credentials_and_address_may_come_from_the_command_line(
    cli, bucket, stranger, seaweedfs, tmp_path
):
    stranger()
    path = creds_file(
        tmp_path,
        aws_access_key_id=seaweedfs.access_key,
        aws_secret_access_key=seaweedfs.secret_key,
    )
    words = ("--creds", path, "--endpoint-url", seaweedfs.url, "--region", seaweedfs.region)
    assert cli("cat", f"s3://{bucket}/k", *words).out == "content"
    assert cli(*words, "cat", f"s3://{bucket}/k").out == "content"


def test_a_wrong_secret_is_denied_and_not_not_found(cli, bucket, seaweedfs, tmp_path):
    path = creds_file(
        tmp_path, aws_access_key_id=seaweedfs.access_key, aws_secret_access_key="wrong" * 8
    )
    for command in ("cat", "ls", "head", "du", "rm"):
        ended = cli(command, f"s3://{bucket}/k", "--creds", path)
        assert ended.code == 4, (command, ended.err)
        assert "wrong" * 8 not in ended.err


def test_nobody_is_denied(cli, bucket):
    assert cli("cat", f"s3://{bucket}/k", "--anon").code == 4


def test_a_missing_bucket_is_not_found(cli, bucket):
    ended = cli("ls", "s3://no-such-bucket-here", "--json")
    assert ended.code == 3
    assert ended.errors[0]["type"] == "NotFoundError"


def test_misspelt_credentials_are_a_usage_error_that_says_what_to_write(cli, bucket, tmp_path):
    path = creds_file(tmp_path, AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b")
    ended = cli("ls", f"s3://{bucket}", "--creds", path)
    assert ended.code == 2
    assert "aws_access_key_id" in ended.err


def test_an_unreachable_service_is_unavailable(cli, bucket):
    ended = cli("cat", f"s3://{bucket}/k", "--endpoint-url", "http://127.0.0.1:9")
    assert ended.code == 6


def test_credentials_do_not_travel_unencrypted_unless_told_so(cli, bucket):
    ended = cli("cat", f"s3://{bucket}/k", "--endpoint-url", "http://192.0.2.1:9")
    assert ended.code == 2
    assert "allow_http" in ended.err


def test_a_presigned_url_works_without_credentials(cli, bucket):
    (record,) = cli("presign", "--json", "--expires", "5m", f"s3://{bucket}/k").records
    assert record["method"] == "GET"
    assert record["expires_at"].endswith("Z")
    assert sent("GET", record["url"]) == (200, b"content")
    assert cli("presign", f"s3://{bucket}/k").out.startswith("http")


def test_a_presigned_url_for_an_upload_takes_one(cli, bucket):
    url = cli("presign", "--method", "put", f"s3://{bucket}/new").out.strip()
    assert sent("PUT", url, b"uploaded")[0] == 200
    assert cli("cat", f"s3://{bucket}/new").out == "uploaded"


@pytest.mark.parametrize("expires", ["8d", "0", "soon"])
def test_a_presigned_url_for_too_long_is_a_usage_error(cli, bucket, expires):
    assert cli("presign", "--expires", expires, f"s3://{bucket}/k").code == 2


def test_doctor_says_who_one_is_and_from_where_and_no_secret(cli, bucket, seaweedfs):
    ended = cli("doctor", f"s3://{bucket}")
    assert ended.code == 0, ended.err
    assert seaweedfs.secret_key not in ended.out
    (record,) = cli("doctor", "--json", f"s3://{bucket}").records
    facts = record["path"]
    assert facts["endpoint"].startswith(seaweedfs.url)
    assert facts["source"]
    assert facts["identity"]
    assert abs(facts["clock_drift"]) < 60
    assert facts["capabilities"]


def test_doctor_says_what_it_did_not_try_and_tries_it_when_asked(cli, bucket):
    capabilities.forget()
    assert "--try-writes" in cli("doctor", f"s3://{bucket}/in/here").out
    ended = cli("doctor", "--try-writes", f"s3://{bucket}/in/here")
    assert ended.code == 0, ended.err
    assert re.search(r"put if absent +yes", ended.out)
    assert "not tried" not in ended.out
    assert "expires at    none is known" in ended.out
    assert cli("ls", "-r", f"s3://{bucket}/in/").out == ""


def test_doctor_of_a_wrong_identity_says_so_with_what_it_knows(cli, bucket, seaweedfs, tmp_path):
    path = creds_file(
        tmp_path, aws_access_key_id="AKIAWRONGWRONGWRONG1", aws_secret_access_key="wrong" * 8
    )
    ended = cli("doctor", f"s3://{bucket}", "--creds", path)
    assert ended.code == 4, ended.err
    assert "CPython" in ended.out
    assert "wrong" * 8 not in ended.out + ended.err


def test_a_tree_goes_from_one_service_to_the_other_and_back(cli, bucket, gcs, tmp_path):
    there = f"gs://{gcs()}"
    for key in ("a/one", "a/b/two", "ünï ☃"):
        assert cli("cp", "-", f"s3://{bucket}/{key}", stdin=key.encode()).code == 0
    assert cli("cp", "-r", f"s3://{bucket}", f"{there}/copy").code == 0
    assert cli("cp", "-r", f"{there}/copy", f"s3://{bucket}/again").code == 0
    assert cli("cat", f"s3://{bucket}/again/ünï ☃").out == "ünï ☃"
    assert cli("cat", f"{there}/copy/a/b/two").out == "a/b/two"
    assert cli("mv", "-r", f"{there}/copy", tmp_path / "copy").code == 0
    assert (tmp_path / "copy" / "a" / "one").read_text() == "a/one"
    assert cli("ls", "-r", there).out == ""


def test_each_side_has_its_own_options(  # noqa: PLR0917 - fixtures
    cli, bucket, gcs, stranger, seaweedfs, tmp_path
):
    there = f"gs://{gcs()}"
    stranger()
    path = creds_file(
        tmp_path,
        aws_access_key_id=seaweedfs.access_key,
        aws_secret_access_key=seaweedfs.secret_key,
    )
    source = ("--source-creds", path, "--source-endpoint-url", seaweedfs.url)
    assert cli("cp", f"s3://{bucket}/k", f"{there}/k", *source).code == 0
    assert cli("cat", f"{there}/k").out == "content"
    assert cli("cp", f"s3://{bucket}/k", tmp_path / "k", *source).code == 0
    assert (tmp_path / "k").read_text() == "content"


def test_metadata_goes_along_between_services(cli, bucket, gcs, seaweedfs):
    seaweedfs.client().put_object(
        Bucket=bucket, Key="m", Body=b"x", ContentType="text/csv", Metadata={"owner": "me"}
    )
    there = f"gs://{gcs()}"
    assert cli("cp", f"s3://{bucket}/m", f"{there}/m").code == 0
    (record,) = cli("head", "--json", f"{there}/m").records
    assert record["content_type"] == "text/csv"
    assert record["metadata"] == {"owner": "me"}


def test_the_demo_goes_where_the_command_line_says(cli, bucket, stranger, seaweedfs, tmp_path):
    stranger()
    path = creds_file(
        tmp_path,
        aws_access_key_id=seaweedfs.access_key,
        aws_secret_access_key=seaweedfs.secret_key,
    )
    words = ("--endpoint-url", seaweedfs.url, "--region", seaweedfs.region, "--creds", path)
    ended = cli("demo", f"s3://{bucket}/x", "--chunks", "20", *words)
    assert ended.code == 0, ended.err
    assert "verified  20 of 20 chunks" in ended.out
    assert cli("ls", "-r", f"s3://{bucket}", *words).out == "k\n"


def test_the_demo_on_a_service_that_refuses_says_denied_and_leaves_nothing(
    cli, bucket, seaweedfs, tmp_path
):
    path = creds_file(
        tmp_path, aws_access_key_id=seaweedfs.access_key, aws_secret_access_key="wrong" * 8
    )
    ended = cli("demo", f"s3://{bucket}/x", "--chunks", "20", "--creds", path)
    assert (ended.code, ended.out) == (4, "")
