"""Pages and predictions over HTTP, for this machine's own browser. The only module that knows Starlette and uvicorn.

A page elsewhere on the web can make a browser send requests to 127.0.0.1, under any host name. So the name that a
request is for is checked, and an image is taken from this server's own pages alone.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Mapping
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from pruning_lab.common.errors import LabError

LOOPBACK = "127.0.0.1"
NAMES = [LOOPBACK, "localhost"]

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""A page's own code and pictures work, and nothing else is loaded or told."""

Predict = Callable[[int, int | None, bytes, str], Mapping[str, Any]]
"""Place of the run, step or None, content and name of an image file -> what the page shows."""


def application(pages: Mapping[str, str], predict: Predict, most_bytes: int) -> Starlette:
    """The server as an ASGI application.

    Args:
        pages: path -> text of the page.
        predict: answers an image; may raise LabError.
        most_bytes: of an image file.
    """

    async def page(request: Request) -> Response:
        return HTMLResponse(pages[request.url.path], headers=HEADERS)

    async def prediction(request: Request) -> Response:
        origin = request.headers.get("origin")
        if origin is not None and origin != f"http://{request.headers.get('host')}":
            return _refused("images are taken from this server's own page alone", 403)
        content = await _content(request, most_bytes)
        if content is None:
            return _refused(f"the file is larger than task.max_megabytes={most_bytes / 1e6:g}", 413)
        asked = request.query_params
        run, step = asked.get("run", "0"), asked.get("step", "")
        if not (run.isdecimal() and (step.isdecimal() or not step)):
            return _refused("run and step are whole numbers", 400)
        name = asked.get("name", "")[-200:]
        try:
            told = await run_in_threadpool(predict, int(run), int(step) if step else None, content, name)
        except LabError as error:
            return _refused(str(error), 422)
        return JSONResponse(told, headers=HEADERS)

    routes = [Route(path, page, methods=["GET"]) for path in pages]
    return Starlette(
        routes=[*routes, Route("/predict", prediction, methods=["POST"])],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=NAMES, www_redirect=False)],
    )


async def _content(request: Request, most_bytes: int) -> bytes | None:
    """The body of a request; None as soon as it is too long."""
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > most_bytes:
            return None
    return bytes(content)


def _refused(why: str, status: int) -> JSONResponse:
    return JSONResponse({"error": why}, status, HEADERS)


def bound(port: int) -> socket.socket:
    """A socket on this machine's own address.

    Raises:
        LabError: the port is taken, or not to be had.
    """
    if not 0 <= port <= 65535:
        raise LabError(f"task.port={port}: give 1 to 65535, or 0 for one that is free")
    place = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        place.bind((LOOPBACK, port))
        place.listen()
    except OSError as error:
        place.close()
        why = "is taken" if error.errno == errno.EADDRINUSE else f"can't be used ({error.strerror})"
        raise LabError(f"task.port={port} {why}; give another, or 0 for one that is free") from error
    return place


def serve(app: Starlette, place: socket.socket) -> None:
    """Answer until Ctrl-C."""
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, server_header=False, lifespan="off"))
    try:
        server.run(sockets=[place])
    except KeyboardInterrupt:
        pass
    finally:
        place.close()
