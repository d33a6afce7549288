"""Objects in the clouds of Amazon, Google and Microsoft, by way of the library obstore."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from assistant.fetching.fetched import ModelUnavailable
from assistant.http import TIMEOUT_SECONDS
from assistant.project import ARCHIVES
from assistant.secret import public_url

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping

    from obstore.store import AzureStore, GCSStore, S3Store

_RETRIES: Final = {"max_retries": 3, "retry_timeout": timedelta(seconds=30)}
_PART_BYTES: Final = 2**20


class Cloud(Struct, frozen=True):
    """How Rasa's variables name a storage.

    Attributes:
        name: as `--remote-storage` has it.
        bucket: the variable that names the bucket.
        needed: the variables without which there is nothing to be had.
        address: the variable of an address that is not the cloud's own.
        options: what the library calls the variables' values.
    """

    name: str
    bucket: str
    needed: tuple[str, ...]
    address: str
    options: dict[str, str]


_AWS: Final = Cloud(
    "aws",
    bucket="BUCKET_NAME",
    needed=("BUCKET_NAME",),
    address="AWS_ENDPOINT_URL",
    options={
        "AWS_ACCESS_KEY_ID": "access_key_id",
        "AWS_SECRET_ACCESS_KEY": "secret_access_key",
        "AWS_SESSION_TOKEN": "session_token",
        "AWS_DEFAULT_REGION": "region",
        "AWS_ENDPOINT_URL": "endpoint",
    },
)
_GCS: Final = Cloud(
    "gcs",
    bucket="BUCKET_NAME",
    needed=("BUCKET_NAME",),
    address="GOOGLE_BASE_URL",
    options={"GOOGLE_APPLICATION_CREDENTIALS": "application_credentials", "GOOGLE_BASE_URL": "base_url"},
)
_AZURE: Final = Cloud(
    "azure",
    bucket="AZURE_CONTAINER",
    needed=("AZURE_CONTAINER", "AZURE_ACCOUNT_NAME", "AZURE_ACCOUNT_KEY"),
    address="AZURE_STORAGE_ENDPOINT",
    options={
        "AZURE_ACCOUNT_NAME": "account_name",
        "AZURE_ACCOUNT_KEY": "account_key",
        "AZURE_STORAGE_ENDPOINT": "endpoint",
    },
)
BY_NAME: Final = {cloud.name: cloud for cloud in (_AWS, _GCS, _AZURE)}
_PAIR: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_GOOGLE_FILE: Final = "GOOGLE_APPLICATION_CREDENTIALS"
_UNSENDABLE: Final = re.compile(r"[^!-~]")
_ADDRESS: Final = re.compile(r"https?://(?:[\w.-]+|\[[\da-fA-F:.]+\])(?::(?P<port>\d{1,5}))?(?:/[\w.%/-]*)?", re.ASCII)


def key_of(name: str) -> str:
    """The key of the object that holds a model."""
    return name if name.endswith(ARCHIVES) else f"{name}.tar.gz"


def faults_of(cloud: Cloud, environment: Mapping[str, str]) -> list[str]:
    """What is wrong with the variables."""
    return [*_missing(cloud, environment), *_wrong(cloud, environment)]


def _missing(cloud: Cloud, environment: Mapping[str, str]) -> Iterator[str]:
    given = [variable for variable in _PAIR if environment.get(variable)] if cloud is _AWS else []
    for variable in (*cloud.needed, *(_PAIR if given else ())):
        if not environment.get(variable):
            because = f", though {given[0]} is" if variable in _PAIR else ""
            yield f"the environment variable {variable} is not set{because}"


def _wrong(cloud: Cloud, environment: Mapping[str, str]) -> Iterator[str]:
    """The library does not look at values before it sends them, and breaks at some."""
    for variable in (cloud.bucket, *cloud.options):
        value = environment.get(variable, "")
        if variable == _GOOGLE_FILE:
            if value and not Path(value).is_file():
                yield f"{variable}: {value}: no such file"
        elif variable == cloud.address:
            if value and not _is_http(value):
                yield f"{variable}: must be http://host:port or https://host, is {public_url(value)!r}"
        elif _UNSENDABLE.search(value):
            yield f"{variable}: holds a blank, the end of a line, or another character that can't be sent"


def _is_http(address: str) -> bool:
    found = _ADDRESS.fullmatch(address)
    return found is not None and int(found["port"] or 0) < 2**16


async def parts(cloud: Cloud, name: str, environment: Mapping[str, str]) -> AsyncGenerator[bytes]:
    """The object that holds a model, piece by piece.

    Raises:
        ModelUnavailable: it is not to be had, or breaks off.
    """
    key = key_of(name)
    try:
        found = await _store(cloud, environment).get_async(key)
        async for part in found.stream(_PART_BYTES):
            yield part
    except Exception as error:  # of classes that the library does not tell, when it breaks
        raise ModelUnavailable(f"{cloud.name}: {_reason(error, environment[cloud.bucket], key)}") from error


def _store(cloud: Cloud, environment: Mapping[str, str]) -> S3Store | GCSStore | AzureStore:
    from obstore.store import AzureStore, GCSStore, S3Store

    address = environment.get(cloud.address, "")
    settings: dict[str, Any] = {
        "config": {ours: environment[name] for name, ours in cloud.options.items() if environment.get(name)},
        "client_options": {"timeout": timedelta(seconds=TIMEOUT_SECONDS), "allow_http": address.startswith("http://")},
        "retry_config": _RETRIES,
    }
    kinds: dict[str, type[S3Store | GCSStore | AzureStore]] = {"aws": S3Store, "gcs": GCSStore, "azure": AzureStore}
    return kinds[cloud.name](environment[cloud.bucket], **settings)


_NO_BUCKET: Final = re.compile("NoSuchBucket|ContainerNotFound|specified bucket does not exist")
_STATUS: Final = re.compile(r"status code: (\d{3}[\w ]*)")
_CODE: Final = re.compile(r"<Code>(\w+)</Code>")
_PREFIX: Final = re.compile(r"Generic \w+ error: (?:Error performing .* - )?")


def _reason(error: Exception, bucket: str, key: str) -> str:
    """Why an object is not to be had. Of the library's text only what tells it: it holds whole answers."""
    text = str(error).partition("\n\nDebug source:")[0]
    if _NO_BUCKET.search(text):
        return f"there is no bucket or container {bucket!r}; it must be made, it never is here"
    if isinstance(error, FileNotFoundError):
        return f"{bucket!r} holds no {key!r}"
    if status := _STATUS.search(text):
        code = _CODE.search(text)
        return f"{bucket!r} can't be read: {status[1].strip()}" + (f", {code[1]}" if code else "")
    return f"{bucket!r} can't be read: {_PREFIX.sub('', text)}"
