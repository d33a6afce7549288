"""An S3 server: that of moto, in an environment of its own, since its packages need older ones than this project's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar, Final

import httpx

from tests.environments import python_with
from tests.servers import Guarded, Server, accepts
from tests.service import free_port

_LOCK: Final = Path(__file__).with_name("s3.lock")


class S3(Server):
    """A server whose buckets are in its memory. It serves whoever signs requests, with whatever key."""

    name: ClassVar = "S3"

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        command: list[str | Path] = [python_with("s3", _LOCK), "-m", "moto.server", "-H", "127.0.0.1"]
        environment = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
        log = folder / f"s3-{self.port}.log"
        super().__init__(Guarded([*command, "-p", str(self.port)], log, environment))

    @classmethod
    def start(cls, folder: Path) -> S3:
        """Start one; its log is in `folder`."""
        started = cls(folder)
        started.start_again()
        return started

    @property
    def url(self) -> str:
        """Its address, as `AWS_ENDPOINT_URL` names it."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What a client of it has in its environment, but for the bucket."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "AKIATEST",
            "AWS_SECRET_ACCESS_KEY": "secret-access-key",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    @property
    def is_ready(self) -> bool:
        """Whether it serves by now."""
        return accepts(self.port)

    def make_bucket(self, name: str) -> None:
        """Make a bucket, or leave the one that there is."""
        httpx.put(f"{self.url}/{name}").raise_for_status()

    def put(self, bucket: str, key: str, body: bytes) -> None:
        """Put a new object into a bucket."""
        httpx.put(f"{self.url}/{bucket}/{key}", content=body).raise_for_status()
