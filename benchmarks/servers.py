"""The servers of the benchmarks, each a child process on loopback with a folder in memory."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from benchmarks.works import Work, key_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_NGINX = """
worker_processes 1; daemon off; master_process on; pid {folder}/pid; error_log {folder}/error.log;
user root;
events {{ worker_connections 4096; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000; default_type
  application/octet-stream;
  client_max_body_size 0; client_body_temp_path {root}/.temp; proxy_temp_path {folder}/p;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;
  ssl_protocols TLSv1.2 TLSv1.3;
  server {{
    listen 127.0.0.1:{plain} backlog=4096; listen 127.0.0.1:{tls} ssl backlog=4096;
    root {root};
    location / {{
      dav_methods PUT; create_full_put_path on;
      # What S3 says of a write, which nginx does not: an ETag, and the checksum it was sent.
      set $etag_put ""; if ($request_method = PUT) {{ set $etag_put '"0"'; }}
      add_header ETag $etag_put always;
      add_header x-amz-checksum-crc64nvme $http_x_amz_checksum_crc64nvme always;
    }}
  }}
}}
"""


@dataclass(frozen=True)
class Place:
    """Where a work is done.

    Attributes:
        url: the endpoint.
        bucket: the bucket.
        access_key, secret_key: what the server takes; those that check none take any.
        root: the folder that is the bucket, where there is one.
        ca: a file of authorities, or `""`.
    """

    url: str
    bucket: str = "bucket"
    access_key: str = "AKIAIOSFODNN7EXAMPLE"
    secret_key: str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    root: str = ""
    ca: str = ""


def _ports(count: int) -> list[int]:
    socks = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in socks]
    for sock in socks:
        sock.close()
    return ports


def _wait(port: int, process: subprocess.Popen[Any]) -> None:
    for _ in range(400):
        if process.poll() is not None:
            raise RuntimeError(f"the server on port {port} ended: {process.args}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"the server on port {port} does not answer")


class Servers:
    """All servers, started when first asked for; a context manager."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._places: dict[tuple[str, float], Place] = {}

    def __enter__(self) -> Self:
        self.folder = self._stack.enter_context(tempfile.TemporaryDirectory())
        memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
        served = self._stack.enter_context(tempfile.TemporaryDirectory(dir=memory))
        os.chmod(served, 0o755)
        self.root = os.path.join(served, "bucket")
        os.mkdir(self.root)
        self._served = served
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def place(self, work: Work) -> Place:
        """Return where a work is done, with its objects there."""
        key = (work.server, work.delay)
        if work.kind.startswith("get"):
            self._fill(work)
        if key not in self._places:
            start = {"nginx": self._nginx, "nginx-tls": self._nginx}.get(work.server)
            if start is not None:
                start()
            elif work.server == "standin":
                self._places[key] = self._standin(work.delay)
            else:
                self._places[key] = self._seaweedfs()
        place = self._places[key]
        if work.server == "seaweedfs" and work.kind == "get":
            self._upload(place, work)
        return place

    def _fill(self, work: Work) -> None:
        for number in range(work.count):
            path = os.path.join(self.root, key_of(work, number))
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if not os.path.exists(path):
                with open(path, "wb") as file:
                    file.writelines(
                        os.urandom(min(work.size - start, 64 << 20))
                        for start in range(0, work.size, 64 << 20)
                    )

    def _run(self, *command: str, port: int) -> None:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        self._stack.callback(_end, process)
        _wait(port, process)

    def _nginx(self) -> None:
        import trustme

        authority = trustme.CA()
        authority.cert_pem.write_to_path(f"{self.folder}/ca.pem")
        cert = authority.issue_cert("localhost", "127.0.0.1")
        cert.private_key_pem.write_to_path(f"{self.folder}/key.pem")
        for blob in cert.cert_chain_pems:
            blob.write_to_path(f"{self.folder}/cert.pem", append=True)
        plain, tls = _ports(2)
        config = f"{self.folder}/nginx.conf"
        with open(config, "w", encoding="utf-8") as file:
            text = _NGINX.format(folder=self.folder, root=self._served, plain=plain, tls=tls)
            file.write(text)
        nginx = shutil.which("nginx") or "/usr/sbin/nginx"
        self._run(nginx, "-c", config, "-e", f"{self.folder}/error.log", port=plain)
        self._places["nginx", 0.0] = Place(f"http://127.0.0.1:{plain}", root=self.root)
        self._places["nginx-tls", 0.0] = Place(
            f"https://localhost:{tls}", root=self.root, ca=f"{self.folder}/ca.pem"
        )

    def _standin(self, delay: float) -> Place:
        [port] = _ports(1)
        arguments = ("-m", "benchmarks.standin", str(port), self.root, str(delay))
        self._run(sys.executable, *arguments, port=port)
        return Place(f"http://127.0.0.1:{port}", root=self.root)

    def _seaweedfs(self) -> Place:
        from asyncstore.testing.servers import SeaweedFS

        server = self._stack.enter_context(SeaweedFS())
        bucket = server.make_bucket("benchmarks")
        return Place(server.url, bucket, server.access_key, server.secret_key, self.root)

    def _upload(self, place: Place, work: Work) -> None:
        import boto3

        client = boto3.client(
            "s3",
            endpoint_url=place.url,
            region_name="us-east-1",
            aws_access_key_id=place.access_key,
            aws_secret_access_key=place.secret_key,
        )
        for number in range(work.count):
            key = key_of(work, number)
            with open(os.path.join(self.root, key), "rb") as file:
                client.put_object(Bucket=place.bucket, Key=key, Body=file.read())


def _end(process: subprocess.Popen[Any]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def servers() -> Iterator[Servers]:
    """Give the servers."""
    with Servers() as all_of_them:
        yield all_of_them
