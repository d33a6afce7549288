"""Where another service is, and what it wants to see of a client."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from assistant.secret import Secret, public_url


class BasicAuth(Struct, frozen=True):
    """Name and password for HTTP basic authentication."""

    username: str
    password: Secret


class Endpoint(Struct, frozen=True, kw_only=True):
    """An HTTP endpoint that this service calls.

    Attributes:
        url: None where the section gives none.
        params: query parameters of every request.
        headers: headers of every request.
        basic_auth: credentials of every request.
        token: sent as the query parameter `token_name`.
        cafile: certificates to trust in place of the system's.
        type: which kind of endpoint it is, where there are several.
        extra: the section's other keys.
    """

    url: str | None = None
    params: dict[str, Any] = {}
    headers: dict[str, str] = {}
    basic_auth: BasicAuth | None = None
    token: Secret | None = None
    token_name: str = "token"  # noqa: S105 - a parameter's name
    cafile: str | None = None
    type: str | None = None
    extra: dict[str, Any] = {}

    @property
    def public_url(self) -> str | None:
        """Its address as it may be shown."""
        return None if self.url is None else public_url(self.url)

    def __repr__(self) -> str:
        """Only the address: secrets may stand in any other field, and in the address's user and query."""
        return f"{type(self).__name__}({self.public_url})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("url", self.public_url)]
