"""Cross-origin requests (Fetch standard, "CORS protocol"): which origins' pages may read answers, errors included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sanic.response import BaseHTTPResponse, HTTPResponse

if TYPE_CHECKING:
    from collections.abc import Collection

    from sanic import Request, Sanic

METHODS: Final = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"
EXPOSED: Final = "filename, ETag, Idempotency-Replayed, Retry-After, X-Request-ID"
PREFLIGHT_SECONDS: Final = "600"


class Cors:
    """Allows a list of origins, or with `*` any."""

    def __init__(self, origins: tuple[str, ...]) -> None:
        self._any = "*" in origins
        self._origins = frozenset(origins)

    def install(self, app: Sanic[Any, Any], paths: Collection[str]) -> None:
        """Answer OPTIONS on every path, and mark every answer when origins are configured."""
        for number, path in enumerate(paths):
            app.add_route(self.preflight, path, methods=["OPTIONS"], name=f"preflight_{number}")
        if self._origins:
            app.register_middleware(self.mark, "response")

    async def preflight(self, request: Request, **_path: str) -> HTTPResponse:
        """What a browser asks before it sends the request itself. Never authenticated."""
        headers = {}
        if self._allows(request.headers.get("origin")):
            headers = {
                "Access-Control-Allow-Methods": METHODS,
                "Access-Control-Allow-Headers": request.headers.get("access-control-request-headers", "*"),
                "Access-Control-Max-Age": PREFLIGHT_SECONDS,
            }
        return HTTPResponse(status=200, headers=headers, content_type="text/plain; charset=utf-8")

    async def mark(self, request: Request, response: BaseHTTPResponse) -> None:
        """Tell the browser that a page of this origin may read the answer."""
        origin = request.headers.get("origin")
        response.headers["Vary"] = "Origin"
        if origin and self._allows(origin):
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Allow-Credentials"] = "true"
            response.headers["Access-Control-Expose-Headers"] = EXPOSED

    def _allows(self, origin: str | None) -> bool:
        return origin is not None and (self._any or origin in self._origins)
