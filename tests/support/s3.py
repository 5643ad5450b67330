"""A real S3 server for tests: moto's, as a process of its own, on a free port."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError

from tests.support.checkout import free_ports, wait_until

#: Anybody may come in, but has to sign.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "anybody", "AWS_SECRET_ACCESS_KEY": "sesame-opens"}
REGION = "us-east-1"


@dataclass(frozen=True)
class S3:
    """A server with one bucket, and a client that is not ours."""

    endpoint: str
    bucket: str = "quiesce-test"
    credentials: dict[str, str] = field(default_factory=lambda: dict(CREDENTIALS))

    def client(self):  # type: ignore[no-untyped-def]
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        )

    def names(self) -> list[str]:
        """Every object in the bucket."""
        found = self.client().list_objects_v2(Bucket=self.bucket)
        return [entry["Key"] for entry in found.get("Contents", ())]

    def read(self, name: str) -> bytes:
        """What an object holds."""
        content: bytes = self.client().get_object(Bucket=self.bucket, Key=name)["Body"].read()
        return content

    def write(self, name: str, content: bytes) -> None:
        """Put another content in its place."""
        self.client().put_object(Bucket=self.bucket, Key=name, Body=content)

    def credentials_file(self, folder: Path) -> Path:
        """A file as `credentials_file` names one."""
        file = folder / "s3.env"
        file.write_text("".join(f"{k}={v}\n" for k, v in self.credentials.items()))
        file.chmod(0o600)
        return file


@contextmanager
def an_s3_server() -> Iterator[S3]:
    """Run a server, with an empty bucket, while the block runs."""
    (port,) = free_ports(1)
    argv = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    running = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    server = S3(f"http://127.0.0.1:{port}")
    try:
        wait_until(lambda: _answers(server.endpoint), "the S3 server")
        server.client().create_bucket(Bucket=server.bucket)
        yield server
    finally:
        running.kill()
        running.wait()


def _answers(endpoint: str) -> bool:
    try:
        with urllib.request.urlopen(f"{endpoint}/moto-api/"):
            return True
    except OSError:
        return False


@contextmanager
def an_rclone_server(folder: Path) -> Iterator[S3]:
    """Run rclone's S3 server over a folder: every object is a plain file in it."""
    (port,) = free_ports(1)
    bucket = S3("").bucket
    (folder / bucket).mkdir(parents=True)
    key = f"{CREDENTIALS['AWS_ACCESS_KEY_ID']},{CREDENTIALS['AWS_SECRET_ACCESS_KEY']}"
    program = Path(sys.executable).with_name("rclone")
    argv = [str(program), "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", key]
    running = subprocess.Popen(
        [*argv, str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    server = S3(f"http://127.0.0.1:{port}")
    try:
        wait_until(lambda: _lists(server), "rclone's S3 server")
        yield server
    finally:
        running.kill()
        running.wait()


def _lists(server: S3) -> bool:
    try:
        return server.names() == []
    except BotoCoreError:
        return False
