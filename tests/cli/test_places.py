import os

import click
import pytest

from asyncstore.cli.options import Connection, Options
from asyncstore.cli.places import Place, sides
from asyncstore.errors import ConfigurationError, InvalidPathError


@pytest.mark.parametrize(
    ("text", "root", "key", "is_folder"),
    [
        ("s3://bucket/a/b", "s3://bucket", "a/b", False),
        ("s3://bucket/a/b/", "s3://bucket", "a/b", True),
        ("s3://bucket", "s3://bucket", "", True),
        ("gs://bucket/k", "gcs://bucket", "k", False),
        ("mem://m/k", "mem://m", "k", False),
        ("hub://org/set/x/y", "hub://org/set", "x/y", False),
        ("hub://org/set", "hub://org/set", "", True),
        ("/", "/", "", True),
    ],
)
def test_a_path_is_cut_into_a_store_and_a_key(text, root, key, is_folder):
    place = Place.parse(text)
    assert (str(place.root), place.key, place.is_folder) == (root, key, is_folder)


def test_a_local_path_is_cut_at_its_last_name_and_the_folder_may_be_behind_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    place = Place.parse(str(tmp_path / "link" / "file"))
    assert (place.root.path, place.key) == (str(tmp_path / "real"), "file")
    assert place.local_path == str(tmp_path / "real" / "file")
    assert place.url() == place.local_path


@pytest.mark.parametrize("text", [".", "..", "x/."])
def test_a_dot_is_a_folder(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = Place.parse(text)
    assert place.is_folder
    assert place.local_path == os.path.abspath(text)


def test_a_folder_is_refused_where_one_object_is_meant():
    with pytest.raises(InvalidPathError, match="is a folder"):
        Place.parse("s3://bucket/a/").one()


def test_places_join_and_name_themselves():
    assert Place.parse("s3://bucket/a/").join("b").url() == "s3://bucket/a/b"
    assert Place.parse("s3://bucket").join("b").url() == "s3://bucket/b"
    assert Place.parse("s3://bucket").name == "bucket"
    assert Place.parse("/").join("b").local_path == "/b"
    assert Place.parse("/").join("b").url() == "/b"


S3, OTHER, GCS, DISK = "s3://bucket/k", "s3://other/k", "gs://bucket/k", "/k"


@pytest.mark.parametrize(
    ("source", "target", "given", "own"),
    [
        (S3, OTHER, False, False),
        (S3, OTHER, True, True),
        (S3, DISK, False, False),
        (S3, DISK, True, True),
        (S3, GCS, False, True),
        (GCS, S3, True, True),
    ],
)
def test_the_plain_options_never_reach_another_service_than_the_targets(source, target, given, own):
    options = Options(source=Connection(anon=True) if given else Connection())
    assert sides(options, Place.parse(source), Place.parse(target)) is own


def test_source_options_for_a_local_source_are_refused():
    with pytest.raises(click.UsageError, match="is local"):
        sides(Options(source=Connection(anon=True)), Place.parse(DISK), Place.parse(S3))


@pytest.mark.parametrize(
    ("connection", "scheme", "creds"),
    [
        (Connection(), "s3", None),
        (Connection(anon=True), "s3", "anon"),
        (Connection(creds="env"), "s3", "ENV"),
        (Connection(creds="ANON"), "gcs", "anon"),
        (Connection(profile="work"), "s3", {"profile_name": "work"}),
        (Connection(creds="google_default"), "gcs", "google_default"),
        (Connection(creds="key.json"), "gcs", "key.json"),
        (Connection(creds="key.json", region="x"), "file", None),
    ],
)
def test_an_identity_becomes_what_creds_takes(connection, scheme, creds):
    assert connection.settings(scheme).get("creds") == creds


def test_a_file_of_credentials_is_read_for_s3_and_its_content_is_in_no_error(tmp_path):
    path = tmp_path / "creds.json"
    path.write_text('{"aws_access_key_id": "a", "aws_secret_access_key": "b"}')
    assert Connection(creds=str(path)).settings("s3")["creds"]["aws_access_key_id"] == "a"
    path.write_text("CANARY-SECRET")
    with pytest.raises(ConfigurationError, match="not JSON") as caught:
        Connection(creds=str(path)).settings("s3")
    assert "CANARY" not in str(caught.value)
    assert caught.value.__cause__ is None
    with pytest.raises(ConfigurationError, match="No such file"):
        Connection(creds=str(tmp_path / "absent")).settings("s3")


def test_two_identities_are_refused():
    with pytest.raises(click.UsageError, match="give one"):
        Connection(anon=True, creds="env").settings("s3")
