"""/: the page, which uses the API as anybody's program does. Its files are built from gateway/page."""

import gzip
import hashlib
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Request, Response

BUILT = Path(__file__).parents[1] / "page"
INDEX = "index.html"
# No script, style or request that is not this gateway's own; pictures and sounds may be what the page itself holds.
POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' blob: data:",
        "media-src 'self' blob: data:",
        "connect-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
SAFE = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "microphone=(self), camera=(self), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
ASKED_EACH_TIME = "no-cache"
NEVER_CHANGES = "public, max-age=31536000, immutable"  # the name has the content's hash


@dataclass(frozen=True)
class File:
    """A file of the page, as it is and compressed."""

    content: bytes
    compressed: bytes
    media_type: str
    headers: Mapping[str, str]

    @classmethod
    def read(cls, path: Path) -> "File":
        """A file that was built."""
        content = path.read_bytes()
        kept = ASKED_EACH_TIME if path.name == INDEX else NEVER_CHANGES
        etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        headers = SAFE | {"cache-control": kept, "etag": etag, "vary": "accept-encoding"}
        return cls(content, gzip.compress(content, mtime=0), media_type, headers)

    def answer(self, request: Request) -> Response:
        """The file; or 304, where the browser has it."""
        if self.headers["etag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=dict(self.headers))
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers = {**self.headers, "content-encoding": "gzip"}
            return Response(self.compressed, headers=headers, media_type=self.media_type)
        return Response(self.content, headers=dict(self.headers), media_type=self.media_type)


def files() -> dict[str, File]:
    """The files of the page by their addresses."""
    assets = {f"/assets/{path.name}": path for path in sorted((BUILT / "assets").iterdir())}
    return {address: File.read(path) for address, path in {"/": BUILT / INDEX, **assets}.items()}


def router_of(served: Mapping[str, File]) -> APIRouter:
    """What answers at those addresses, and nowhere else."""
    router = APIRouter(include_in_schema=False)

    async def serve(request: Request) -> Response:
        return served[request.scope["path"]].answer(request)

    for address in served:
        router.add_api_route(address, serve, methods=["GET", "HEAD"])
    return router
