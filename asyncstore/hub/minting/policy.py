"""The session policy that narrows a role of S3's to one data set. Pure.

A session may do what the role may do and what the policy allows: their intersection. The policy
names what is below one prefix, and lists nothing but that. AWS also asks for the right to list
with the key as the prefix before it says that a key is missing, so that absent reads as absent
inside the data set and as forbidden outside.

Sources: IAM's "Policies and permissions", on session policies; AssumeRole's reference, on
`Policy`; S3's "Actions, resources, and condition keys".
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal, TypeAlias

from asyncstore.errors import ConfigurationError, NotSupportedError

if TYPE_CHECKING:
    from asyncstore.url import StoreURL

Mode: TypeAlias = Literal["r", "w"]

LONGEST = 2048
"""Most characters of a session policy."""

READS = ("s3:GetObject",)
WRITES = (
    "s3:PutObject",
    "s3:DeleteObject",
    "s3:AbortMultipartUpload",
    "s3:ListMultipartUploadParts",
)
_SPECIAL = "*?${}"


def session_policy(url: StoreURL, /, *, mode: Mode, partition: str = "aws") -> str:
    """Return a policy that allows one data set and nothing else.

    Args:
        url: `s3://bucket/prefix`, with a prefix.
        mode: `"r"` gets no action that changes anything.
        partition: the part of AWS that the bucket is in, as in its ARN.

    Raises:
        ConfigurationError: the prefix is empty, or has a character that means something else in
            a policy.
        NotSupportedError: the policy would be longer than a session's may be.
    """
    check_place(url)
    found = [character for character in _SPECIAL if character in url.prefix]
    if found:
        raise ConfigurationError(
            f"{url}: the path has {found[0]!r}, which a session policy takes for a pattern; "
            "choose a path without any of * ? $ { }"
        )
    bucket = f"arn:{partition}:s3:::{url.bucket}"
    statements = [
        {
            "Effect": "Allow",
            "Action": "s3:ListBucket",
            "Resource": bucket,
            "Condition": {"StringLike": {"s3:prefix": f"{url.prefix}*"}},
        },
        {
            "Effect": "Allow",
            "Action": [*READS, *WRITES] if mode == "w" else [*READS],
            "Resource": f"{bucket}/{url.prefix}*",
        },
    ]
    policy = {"Version": "2012-10-17", "Statement": statements}
    # Other than Latin letters are escaped: STS takes no others.
    text = json.dumps(policy, separators=(",", ":"))
    if len(text) > LONGEST:
        raise NotSupportedError(
            f"{url}: its session policy has {len(text)} characters, and the most is {LONGEST}; "
            "choose a shorter path"
        )
    return text


def check_place(url: StoreURL, /) -> None:
    """Refuse a whole bucket, which is no data set.

    Raises:
        ConfigurationError: there is no prefix.
    """
    if not url.prefix:
        raise ConfigurationError(f"{url}: a data set is below a prefix, and not a whole bucket")
