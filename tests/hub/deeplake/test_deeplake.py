"""Deep Lake 3.9's own client works on a hub of ours, and ours opens what it wrote."""

from contextlib import closing

import pytest

import asyncstore
from asyncstore import sync
from asyncstore.testing.hubs import RealHub
from tests.hub.deeplake.conftest import Client

pytestmark = pytest.mark.timeout(900)  # pip may have to install it first


def ours(hub, token, path, **options):
    return sync.load(path, token=token, hub_url=hub.url, **options)


LIFE = """
import numpy
ds = deeplake.empty("hub://lisa/first", token=token)
ds.create_tensor("x", dtype="int64")
ds.create_tensor("text", htype="text")
ds.x.extend(numpy.arange(100))
ds.text.extend([str(i) for i in range(100)])
ds.info.update(made="by Deep Lake")
commit = ds.commit("first")
ds.checkout("dev", create=True)
ds.x.append(numpy.int64(100))
ds.commit("second")
ds.flush()

ds = deeplake.load("hub://lisa/first", token=token)
read = [ds.x.numpy().ravel().tolist(), ds.text.data()["value"], dict(ds.info), ds.branches]
deeplake.rename("hub://lisa/first", "hub://lisa/between", token=token)
deeplake.rename("hub://lisa/between", "second", token=token)
client = Client(token=token)
listed = client.get_workspace_datasets("lisa", "/api/datasets/public", "/api/datasets/all")
there = [deeplake.exists(f"hub://lisa/{name}", token=token) for name in ("first", "second")]
result = [commit, read, [each["_id"] for each in listed], there, client.username]
"""


def test_it_makes_fills_loads_renames_and_lists_and_ours_opens_it(client):
    token = client.hub.person("lisa")
    commit, read, listed, there, username = client.run(LIFE, token=token)
    assert read[0] == list(range(100))
    assert read[1] == [str(i) for i in range(100)]
    assert read[2:] == [{"made": "by Deep Lake"}, ["main", "dev"]]
    assert listed == ["lisa/second"]
    assert there == [False, True]
    assert username == "lisa"
    with ours(client.hub, token, "hub://lisa/second") as ds:
        assert ds.commit_id == commit
        assert ds.branches == ["main", "dev"]
        assert {"x", "text"} <= set(ds.meta.tensor_names)
        assert not ds.read_only


def test_it_deletes_and_both_clients_find_nothing_then(client):
    token = client.hub.person("dora")
    there = client.run(
        """
        path = "hub://dora/short"
        ds = deeplake.empty(path, token=token)
        ds.create_tensor("x")
        ds.x.append(1)
        ds.flush()
        before = deeplake.exists(path, token=token)
        deeplake.delete(path, token=token)
        result = [before, deeplake.exists(path, token=token)]
        """,
        token=token,
    )
    assert there == [True, False]
    with pytest.raises(asyncstore.DatasetNotFoundError):
        ours(client.hub, token, "hub://dora/short")


def test_it_opens_what_ours_made_and_writes_to_it(client):
    token = client.hub.person("erin")
    with sync.empty("hub://erin/made", token=token, hub_url=client.hub.url):
        pass
    client.run(
        """
        ds = deeplake.load("hub://erin/made", token=token)
        assert not ds.read_only
        ds.create_tensor("x")
        ds.x.extend([1.5, 2.5])
        ds.commit("theirs")
        """,
        token=token,
    )
    with ours(client.hub, token, "hub://erin/made") as ds:
        assert "x" in ds.meta.tensors


def test_nobody_opens_what_is_public_and_is_asked_to_sign_in_for_the_rest(client):
    token = client.hub.person("frank")
    client.run(
        """
        for name, public in (("open", True), ("shut", False)):
            ds = deeplake.empty(f"hub://frank/{name}", token=token, public=public)
            ds.create_tensor("x")
            ds.x.append(7)
            ds.flush()
        """,
        token=token,
    )
    seen = client.run(
        """
        ds = deeplake.load("hub://frank/open")
        result = [ds.read_only, ds.x.numpy().ravel().tolist()]
        try:
            deeplake.load("hub://frank/shut")
        except Exception as error:
            result.append(type(error).__name__)
        """,
        token=None,
    )
    assert seen == [True, [7.0], "InvalidTokenException"]


def test_who_may_only_read_is_told_so_and_writes_nothing(client):
    owner, reader = client.hub.person("grace"), client.hub.person("henry")
    client.hub.ask(lambda api: api.set_member("grace", "henry", "read"), token=owner)
    client.run(
        """
        ds = deeplake.empty("hub://grace/ds", token=token)
        ds.create_tensor("x")
        ds.x.append(7)
        ds.flush()
        """,
        token=owner,
    )
    seen = client.run(
        """
        ds = deeplake.load("hub://grace/ds", token=token)
        result = [ds.read_only, ds.x.numpy().ravel().tolist()]
        tries = {
            "append": lambda: ds.x.append(8),
            "write": lambda: deeplake.load("hub://grace/ds", token=token, read_only=False),
            "delete": lambda: deeplake.delete("hub://grace/ds", token=token),
            "new": lambda: deeplake.empty("hub://grace/new", token=token),
        }
        for name, attempt in tries.items():
            try:
                attempt()
            except Exception as error:
                result.append(type(error).__name__)
            else:
                result.append(f"{name} went through")
        """,
        token=reader,
    )
    assert seen[:3] == [True, [7.0], "ReadOnlyModeError"]
    assert not [each for each in seen[3:] if "went through" in each], seen
    with ours(client.hub, owner, "hub://grace/ds") as ds:
        assert "x" in ds.meta.tensors


def test_its_credentials_end_in_the_middle_of_the_work_and_it_asks_for_others(oracle):
    with RealHub(lifetime=2.0) as hub:
        token = hub.person("alice")
        wrote, read, renewed = Client(oracle, hub).run(
            """
            import time
            ds = deeplake.empty("hub://alice/long", token=token)
            ds.create_tensor("x", dtype="int64")
            end, wrote = time.time() + 7, 0
            while time.time() < end:
                ds.x.append(wrote)
                ds.flush()
                wrote += 1
            ds = deeplake.load("hub://alice/long", token=token)
            read = ds.x.numpy().ravel().tolist()
            result = [wrote, read, sum(each.endswith("/creds") for each in asked)]
            """,
            token=token,
        )
        assert read == list(range(wrote))
        assert renewed >= 4
        with ours(hub, token, "hub://alice/long") as ds:
            assert "x" in ds.meta.tensors


def test_an_organisations_own_bucket_is_connected_and_written_through_narrowed_keys(
    client, ministack
):
    token, bucket = client.hub.person("alice"), ministack.make_bucket()
    managed = {
        "kind": "aws",
        "access_key": ministack.access_key,
        "secret_key": ministack.secret_key,
        "role_arn": ministack.role_arn,
        "endpoint_url": ministack.url,
        "region": ministack.region,
    }
    client.hub.ask(lambda api: api.set_credentials("alice", "ours", managed), token=token)
    creds, read, outside = client.run(
        """
        path, owner = args
        ds = deeplake.empty(path, creds=owner)
        ds.create_tensor("x", dtype="int64")
        ds.x.extend([1, 2, 3])
        ds.flush()

        ds = deeplake.connect(path, "ours", "hub://alice/connected", token=token)
        ds = deeplake.load("hub://alice/connected", token=token)
        ds.x.append(4)
        ds.commit("through the hub")
        read = deeplake.load("hub://alice/connected", token=token).x.numpy().ravel().tolist()

        _, creds, *_ = Client(token=token).get_dataset_credentials("alice", "connected", "a", {})
        from deeplake.core.storage import S3Provider
        keys = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token", "endpoint_url")
        near = S3Provider(path + "-other", **{key: creds[key] for key in keys})
        try:
            near["key"] = b"outside"
            outside = "written"
        except Exception as error:
            outside = type(error).__name__
        result = [sorted(creds), read, outside]
        """,
        f"s3://{bucket}/team/connected",
        ministack.creds,
        token=token,
    )
    assert read == [1, 2, 3, 4]
    assert {"aws_session_token", "expiration"} <= set(creds)
    assert outside == "S3SetError"
    with ours(client.hub, token, "hub://alice/connected") as ds:
        assert "x" in ds.meta.tensors
    with closing(ministack.client()) as s3:
        keys = [each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert all(key.startswith("team/connected/") for key in keys)
