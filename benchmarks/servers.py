"""The servers: for each work one of its own, a child process on loopback with files in memory."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.cores import ALL, SERVERS, on
from benchmarks.works import Work, key_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import ExitStack

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
  # What S3 says and nginx does not: a whole object's checksum; of a write an ETag, and the checksum
  # that came with it.
  map_hash_max_size 16384; map_hash_bucket_size 128;
  map $uri $stored {{ include {folder}/sums; }}
  map $http_range $whole {{ "" $stored; }}
  map $request_method $sum {{ default $whole; PUT $http_x_amz_checksum_crc64nvme; }}
  map $request_method $written {{ PUT '"0"'; }}
  server {{
    listen 127.0.0.1:{plain} backlog=4096; listen 127.0.0.1:{tls} ssl backlog=4096;
    root {root};
    location / {{
      dav_methods PUT; create_full_put_path on;
      add_header ETag $written;
      add_header x-amz-checksum-crc64nvme $sum;
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


@contextlib.contextmanager
def serving(work: Work) -> Iterator[Place]:
    """Start the server of a work, with its objects there; give where it is."""
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(dir=memory))
        os.chmod(folder, 0o755)
        root = os.path.join(folder, "served", "bucket")
        os.makedirs(root)
        if work.kind.startswith("get"):
            _fill(root, work)
        with on(SERVERS if work.pinned else ALL):
            place = STARTS[work.server](stack, folder, root, work)
        if work.server == "seaweedfs" and work.kind == "get":
            _upload(place, work)
        yield place


def _fill(root: str, work: Work) -> None:
    for number in range(work.count):
        path = os.path.join(root, key_of(work, number))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.writelines(
                os.urandom(min(work.size - start, 64 << 20))
                for start in range(0, work.size, 64 << 20)
            )


def _run(stack: ExitStack, *command: str, port: int) -> None:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    stack.callback(_end, process)
    _wait(port, process)


def _nginx(stack: ExitStack, folder: str, root: str, work: Work) -> Place:
    import trustme

    authority = trustme.CA()
    authority.cert_pem.write_to_path(f"{folder}/ca.pem")
    cert = authority.issue_cert("localhost", "127.0.0.1")
    cert.private_key_pem.write_to_path(f"{folder}/key.pem")
    for blob in cert.cert_chain_pems:
        blob.write_to_path(f"{folder}/cert.pem", append=True)
    _write_sums(f"{folder}/sums", root, work)
    plain, tls = _ports(2)
    config = f"{folder}/nginx.conf"
    with open(config, "w", encoding="utf-8") as file:
        served = os.path.dirname(root)
        file.write(_NGINX.format(folder=folder, root=served, plain=plain, tls=tls))
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    _run(stack, nginx, "-c", config, "-e", f"{folder}/error.log", port=plain)
    if work.server == "nginx-tls":
        return Place(f"https://localhost:{tls}", root=root, ca=f"{folder}/ca.pem")
    return Place(f"http://127.0.0.1:{plain}", root=root)


def _write_sums(path: str, root: str, work: Work) -> None:
    """Write the map of nginx from an object's path to the checksum that S3 would tell."""
    from awscrt import checksums

    with open(path, "w", encoding="ascii") as out:
        for number in range(work.count if work.kind.startswith("get") else 0):
            key = key_of(work, number)
            whole = 0
            with open(os.path.join(root, key), "rb") as file:
                while piece := file.read(64 << 20):
                    whole = checksums.crc64nvme(piece, whole)
            out.write(f'/bucket/{key} "{b64encode(whole.to_bytes(8, "big")).decode()}";\n')


def _standin(stack: ExitStack, folder: str, root: str, work: Work) -> Place:
    [port] = _ports(1)
    arguments = ("-m", "benchmarks.standin", str(port), root, str(work.delay))
    _run(stack, sys.executable, *arguments, port=port)
    return Place(f"http://127.0.0.1:{port}", root=root)


def _seaweedfs(stack: ExitStack, folder: str, root: str, work: Work) -> Place:
    from asyncstore.testing.servers import SeaweedFS

    server = stack.enter_context(SeaweedFS())
    bucket = server.make_bucket("benchmarks")
    return Place(server.url, bucket, server.access_key, server.secret_key, root)


STARTS = {
    "nginx": _nginx,
    "nginx-tls": _nginx,
    "standin": _standin,
    "seaweedfs": _seaweedfs,
}
"""What starts each server: it ends with the stack, and keeps its files in the folder."""


def _upload(place: Place, work: Work) -> None:
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
        with open(os.path.join(place.root, key), "rb") as file:
            client.put_object(Bucket=place.bucket, Key=key, Body=file.read())


def _end(process: subprocess.Popen[Any]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
