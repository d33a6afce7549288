"""Domains from texts, and what is wrong in them."""

from __future__ import annotations

import pytest

from dialogue import Domain, InvalidDomain, read_domain

CUSTOM = "mappings: [{type: custom}]"


def parsed(*texts: str) -> Domain:
    """The domain of files 1.yml, 2.yml..."""
    return read_domain(_files(texts))[0]


def warnings(*texts: str) -> list[str]:
    return [str(warning) for warning in read_domain(_files(texts))[1]]


def faults(*texts: str) -> list[str]:
    with pytest.raises(InvalidDomain) as caught:
        parsed(*texts)
    assert str(caught.value) == "\n".join(map(str, caught.value.faults))
    return [str(fault) for fault in caught.value.faults]


def _files(texts: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(f"{index}.yml", text) for index, text in enumerate(texts, 1)]
