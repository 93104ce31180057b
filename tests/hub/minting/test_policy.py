"""What a session policy allows, by an evaluator that knows nothing of how it was written."""

import json
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from asyncstore.errors import ConfigurationError, NotSupportedError
from asyncstore.hub.minting.policy import session_policy
from asyncstore.url import StoreURL

ACTIONS = {
    "r": {"s3:GetObject"},
    "w": {
        "s3:GetObject",
        "s3:PutObject",
        "s3:DeleteObject",
        "s3:AbortMultipartUpload",
        "s3:ListMultipartUploadParts",
    },
}
OTHERS = ["s3:PutObjectAcl", "s3:DeleteBucket", "s3:ListBucketMultipartUploads", "sts:AssumeRole"]
EVERY = sorted(ACTIONS["w"] | {"s3:ListBucket", *OTHERS})

names = st.text("ab.-_+' %&<>\"éß☃𝄞[]^|()", min_size=1, max_size=4).filter(
    lambda name: name not in (".", "..")
)
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
buckets = st.sampled_from(["bucket", "bucket2", "buck", "other"])
modes = st.sampled_from(["r", "w"])


def matches(pattern: str, text: str) -> bool:
    """Match as IAM's StringLike does: `*` is any text, `?` one character, the rest itself."""
    parts = (".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None


def allows(policy: str, action: str, resource: str, prefix: str | None = None) -> bool:
    """Evaluate as IAM does: what no statement allows is denied."""
    document = json.loads(policy)
    assert document["Version"] == "2012-10-17"
    for statement in document["Statement"]:
        assert statement["Effect"] == "Allow"
        actions = statement["Action"]
        likes = [actions] if isinstance(actions, str) else actions
        if not any(matches(like, action) for like in likes):
            continue
        if not matches(statement["Resource"], resource):
            continue
        condition = statement.get("Condition", {"StringLike": {}})
        assert list(condition) == ["StringLike"]
        wanted = condition["StringLike"]
        if all(k == "s3:prefix" and matches(v, prefix or "") for k, v in wanted.items()):
            return True
    return False


places = st.tuples(buckets, paths)


@given(place=places, mode=modes, asked=places, action=st.sampled_from(EVERY))
def test_a_key_is_allowed_inside_the_data_set_alone_and_for_its_modes_actions_alone(
    place, mode, asked, action
):
    (bucket, path), (other, ask) = place, asked
    policy = session_policy(StoreURL("s3", bucket, path), mode=mode)
    for key in (ask, f"{path}/{ask}", f"{path}{ask}", path, f"{path}/", path[:-1]):
        inside = other == bucket and key.startswith(f"{path}/")
        right = inside and action in ACTIONS[mode]
        assert allows(policy, action, f"arn:aws:s3:::{other}/{key}") is right


@given(place=places, mode=modes, asked=places)
def test_a_listing_is_allowed_below_the_data_set_alone(place, mode, asked):
    (bucket, path), (other, ask) = place, asked
    policy = session_policy(StoreURL("s3", bucket, path), mode=mode)
    for prefix in (None, "", ask, path, path[:-1], f"{path}/", f"{path}/{ask}", f"{path}{ask}"):
        inside = other == bucket and prefix is not None and prefix.startswith(f"{path}/")
        assert allows(policy, "s3:ListBucket", f"arn:aws:s3:::{other}", prefix) is inside
        assert not allows(policy, "s3:ListBucketMultipartUploads", f"arn:aws:s3:::{other}", prefix)


@given(parent=paths, child=paths, modes=st.tuples(modes, modes), key=paths)
def test_what_is_allowed_for_a_part_is_allowed_for_the_whole_and_never_more(
    parent, child, modes, key
):
    whole = session_policy(StoreURL("s3", "bucket", parent), mode=modes[0])
    part = session_policy(StoreURL("s3", "bucket", f"{parent}/{child}"), mode=modes[1])
    assume(modes[0] == "w" or modes[1] == "r")
    for action in EVERY:
        for place in (key, f"{parent}/{key}", f"{parent}/{child}/{key}"):
            resource = f"arn:aws:s3:::bucket/{place}"
            assert allows(whole, action, resource) or not allows(part, action, resource)
            listed = "arn:aws:s3:::bucket"
            assert allows(whole, action, listed, place) or not allows(part, action, listed, place)


@pytest.mark.parametrize("mark", list("*?${}"))
def test_a_character_that_a_policy_takes_for_a_pattern_is_refused(mark):
    with pytest.raises(ConfigurationError, match="pattern"):
        session_policy(StoreURL("s3", "bucket", f"data/a{mark}b"), mode="r")


def test_a_whole_bucket_is_no_data_set():
    with pytest.raises(ConfigurationError, match="not a whole bucket"):
        session_policy(StoreURL("s3", "bucket", ""), mode="r")


@given(st.integers(1, 1024), st.sampled_from("aß☃𝄞"), modes)
def test_a_policy_is_whole_and_short_enough_or_refused(length, character, mode):
    url = StoreURL("s3", "bucket", character * length)
    try:
        policy = session_policy(url, mode=mode)
    except NotSupportedError:
        assert length * len(json.dumps(character)[1:-1]) > 700
    else:
        assert len(policy) <= 2048
        assert policy.isascii()
        assert allows(policy, "s3:GetObject", f"arn:aws:s3:::bucket/{url.path}/key")


def test_a_bucket_is_named_in_the_part_of_aws_that_its_role_is_in():
    policy = session_policy(StoreURL("s3", "bucket", "ds"), mode="r", partition="aws-cn")
    assert allows(policy, "s3:GetObject", "arn:aws-cn:s3:::bucket/ds/key")
    assert not allows(policy, "s3:GetObject", "arn:aws:s3:::bucket/ds/key")
