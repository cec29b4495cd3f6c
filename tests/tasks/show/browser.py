"""Sends a request to an ASGI application in this process, with the headers that a browser sends."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

HOST = "127.0.0.1:8321"


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def told(self) -> Any:
        return json.loads(self.content)


def send(app: Any, path: str, content: bytes | None = None, host: str = HOST, **headers: str) -> Reply:
    """GET a page, or POST a content; it arrives in pieces of 1,000 bytes, as it may over a network."""
    address, _, query = path.partition("?")
    sent: list[dict[str, Any]] = []
    body = content or b""
    pieces = [body[start : start + 1000] for start in range(0, len(body), 1000)] or [b""]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET" if content is None else "POST",
        "scheme": "http",
        "path": address,
        "raw_path": address.encode(),
        "query_string": quote(query, safe="=&%").encode(),
        "root_path": "",
        "headers": [(name.encode(), text.encode()) for name, text in {"host": host, **headers}.items()],
        "server": ("127.0.0.1", 8321),
        "client": ("127.0.0.1", 50000),
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    async def collect(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, collect))
    start = next(message for message in sent if message["type"] == "http.response.start")
    found = b"".join(message.get("body", b"") for message in sent if message["type"] == "http.response.body")
    return Reply(start["status"], {name.decode(): text.decode() for name, text in start["headers"]}, found)
