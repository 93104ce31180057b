"""What an administrator stores is checked field by field, and leads where it may alone."""

from typing import Any

import pytest

from asyncstore.errors import ConfigurationError
from asyncstore.hub.minting import Minter, Reach
from asyncstore.testing.canary import CANARY_SECRET
from asyncstore.testing.google_standins import ACCOUNT, TARGET, private_key_pem

AWS: dict[str, Any] = {
    "kind": "aws",
    "access_key": "AKIAIOSFODNN7EXAMPLE",
    "secret_key": CANARY_SECRET,
    "role_arn": "arn:aws:iam::123456789012:role/data/asyncstore",
}
GCS: dict[str, Any] = {
    "kind": "gcs",
    "service_account": {
        "type": "service_account",
        "client_email": ACCOUNT,
        "private_key": private_key_pem(),
        "token_uri": "https://oauth2.googleapis.com/token",
        "private_key_id": "key-1",
        "some_new_field": "of Google's",
    },
}


@pytest.mark.parametrize(
    "managed",
    [
        AWS,
        AWS | {"external_id": "our:id-1", "region": "eu-central-1", "allow_static": False},
        AWS | {"role_arn": None, "allow_static": True},
        AWS | {"endpoint_url": "https://s3.example.com:9000", "region": "here"},
        AWS
        | {"endpoint_url": "https://s3.example.com", "sts_endpoint_url": "https://sts.a.example"},
        GCS,
        GCS | {"impersonate": TARGET},
    ],
)
def test_what_is_right_is_taken(managed):
    Minter().validate(managed)


@pytest.mark.parametrize(
    ("managed", "said"),
    [
        ({}, "kind is"),
        ({"kind": "azure"}, "kind is"),
        ({"kind": "aws"}, "access_key is missing"),
        (AWS | {"secret_key": ""}, "secret_key is missing"),
        (AWS | {"access_key": "a b"}, "access_key is missing, or is no key"),
        (AWS | {"secret_key": 7}, "secret_key is not a text"),
        (AWS | {"acess_key": "x"}, "write 'access_key'"),
        (AWS | {"role_arn": "role/x"}, "role_arn is arn:aws:iam"),
        (AWS | {"role_arn": None}, "allow_static"),
        (AWS | {"role_arn": None, "allow_static": "yes"}, "allow_static is true or false"),
        (AWS | {"external_id": "a b"}, "external_id"),
        (AWS | {"role_arn": None, "external_id": "ab", "allow_static": True}, "external_id"),
        (AWS | {"region": "evil.example/"}, "not a region"),
        (AWS | {"region": "moon"}, "AWS has no region 'moon'"),
        (GCS | {"service_account": "/etc/key.json"}, "service account's key file"),
        (GCS | {"service_account": {"type": "external_account"}}, "service account's key file"),
        (GCS | {"service_account": {"type": "service_account"}}, "lacks client_email"),
        (GCS | {"impersonate": "no address"}, "impersonate"),
        (GCS | {"impersonate": "a@b:x/../../y"}, "impersonate"),
        (GCS | {"endpoint_url": "https://x"}, "unknown key"),
    ],
)
def test_what_is_wrong_is_named_and_its_value_is_not(managed, said):
    with pytest.raises(ConfigurationError, match=said):
        Minter().validate(managed)


NEVER = [
    "http://169.254.169.254",
    "https://169.254.169.254",
    "https://[fe80::1]",
    "https://[fd00:ec2::254]",
    "https://[::ffff:169.254.169.254]",
    "https://100.100.100.200",
    "https://metadata.google.internal",
    "https://METADATA.google.internal.",
    "https://0.0.0.0",
    "http://storage.example.com",
    "http://127.evil.example",
    "https://user:pass@storage.example.com",
    "https://storage.example.com/path",
    "https://storage.example.com?x=1",
    "ftp://storage.example.com",
    "file:///etc/passwd",
    "nonsense",
]
NEAR = ["http://127.0.0.1:9000", "https://localhost:9000", "http://[::1]:9000"]
PRIVATE = ["https://10.1.2.3", "https://192.168.1.1:9000", "https://[fd12::1]"]


@pytest.mark.parametrize("field", ["endpoint_url", "sts_endpoint_url"])
@pytest.mark.parametrize("url", NEVER)
def test_no_setting_lets_an_address_lead_where_no_storage_is(field, url):
    minter = Minter(Reach(loopback=True, private=True))
    with pytest.raises(ConfigurationError, match=field):
        minter.validate(AWS | {field: url})


@pytest.mark.parametrize("url", [url for url in NEVER if not url.endswith("/path")])
def test_no_key_file_leads_there_either(url):
    document = GCS["service_account"] | {"token_uri": url}
    with pytest.raises(ConfigurationError, match="token_uri"):
        Minter(Reach(loopback=True, private=True)).validate(GCS | {"service_account": document})


@pytest.mark.parametrize(
    ("url", "reach"),
    [(url, Reach(loopback=True)) for url in NEAR] + [(url, Reach(private=True)) for url in PRIVATE],
)
def test_the_hubs_own_machine_and_network_are_reached_where_its_settings_say_so(url, reach):
    managed = AWS | {"endpoint_url": url, "region": "here"}
    Minter(reach).validate(managed)
    with pytest.raises(ConfigurationError, match="own machine or network"):
        Minter().validate(managed)


@pytest.mark.parametrize(
    ("address", "right"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("::1", False),
        ("10.0.0.1", False),
        ("169.254.169.254", False),
        ("::ffff:169.254.169.254", False),
        ("::ffff:10.0.0.1", False),
        ("fe80::1%eth0", False),
        ("not an address", False),
    ],
)
def test_an_address_is_looked_at_again_after_dns(address, right):
    assert Reach().permits(address) is right


def test_an_identity_is_told_without_its_secrets():
    minter = Minter()
    assert minter.identity(AWS) == f"AKIA…MPLE as {AWS['role_arn']}"
    assert minter.identity(GCS | {"impersonate": TARGET}) == f"{ACCOUNT} as {TARGET}"
