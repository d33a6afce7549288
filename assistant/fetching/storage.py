"""A storage that holds models by their names: in a cloud, or behind a class of your own."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from assistant.fetching import clouds, custom
from assistant.fetching.fetched import MAX_BYTES, Fetched, ModelUnavailable, write
from assistant.http import TIMEOUT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def faults_of(storage: str, environment: Mapping[str, str]) -> list[str]:
    """What keeps models from being fetched out of a storage, as far as it is known without asking it."""
    cloud = clouds.BY_NAME.get(storage)
    return custom.faults_of(storage) if cloud is None else clouds.faults_of(cloud, environment)


async def from_storage(
    storage: str, name: str, folder: Path, environment: Mapping[str, str], most: int = MAX_BYTES
) -> Fetched:
    """The model of this name, as a new file in `folder`.

    `storage` is `aws`, `gcs`, `azure`, or the dotted path of a class. For a cloud the environment names the bucket and
    says who asks; the library itself looks into the process's environment for ways of that cloud which Rasa does not
    name, such as the identity of a machine.

    Raises:
        ModelUnavailable: it is not to be had, or has more than `most` bytes.
    """
    if faults := faults_of(storage, environment):
        raise ModelUnavailable(f"{storage}: {'; '.join(faults)}")
    cloud = clouds.BY_NAME.get(storage)
    parts = custom.parts(storage, name, folder) if cloud is None else clouds.parts(cloud, name, environment)
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS), aclosing(parts):
            written = await write(parts, folder, storage, most)
    except TimeoutError as error:
        raise ModelUnavailable(f"{storage}: {name!r} did not come within {TIMEOUT_SECONDS:g} seconds") from error
    return Fetched(written.path, written.shown_as(PurePosixPath(clouds.key_of(name)).name), written.etag)
