"""The server of task=show: for this machine's own pages alone, within bounds, and loading nothing from elsewhere."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from pruning_lab.common.errors import LabError
from pruning_lab.tasks.show.server import LOOPBACK, application, bound
from tests.tasks.show.browser import HOST, send

LIMIT = 5000


def echo(run: int, step: int | None, content: bytes, name: str) -> dict[str, Any]:
    if name == "bad.txt":
        raise LabError("bad.txt is no image")
    return {"run": run, "step": step, "bytes": len(content), "name": name}


APP = application({"/": "<main>all</main>", "/runs/0": "<main>one</main>"}, echo, LIMIT)


def test_pages_are_served_and_others_are_not() -> None:
    assert send(APP, "/").content == b"<main>all</main>"
    assert send(APP, "/runs/0").content == b"<main>one</main>"
    for path in ("/runs/1", "/../etc/passwd", "/runs/0/..", "/openapi.json"):
        assert send(APP, path).status == 404


def test_a_page_may_load_nothing_from_elsewhere() -> None:
    policy = send(APP, "/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "http" not in policy
    assert "*" not in policy


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8321", "127.0.0.1.evil.example", ""])
def test_a_name_that_was_bound_to_loopback_elsewhere_is_refused(host: str) -> None:
    assert send(APP, "/", host=host).status == 400
    assert send(APP, "/predict?name=a.png", b"x", host=host).status == 400


@pytest.mark.parametrize("host", [HOST, "localhost:8321", "localhost"])
def test_this_machine_is_answered_by_either_name(host: str) -> None:
    assert send(APP, "/", host=host).status == 200
    assert send(APP, "/predict?name=a.png", b"x", host=host, origin=f"http://{host}").status == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:9999"])
def test_another_page_can_not_send_images(origin: str) -> None:
    assert send(APP, "/predict?name=a.png", b"x", origin=origin).status == 403


def test_an_image_goes_with_run_step_and_name() -> None:
    reply = send(APP, "/predict?run=2&step=7&name=a%20b.png", b"x" * LIMIT)
    assert reply.told == {"run": 2, "step": 7, "bytes": LIMIT, "name": "a b.png"}
    assert send(APP, "/predict?name=a.png", b"").told == {"run": 0, "step": None, "bytes": 0, "name": "a.png"}


def test_a_file_over_the_limit_is_refused_before_it_is_read_to_its_end() -> None:
    reply = send(APP, "/predict?name=a.png", b"x" * 50_000_000)
    assert reply.status == 413
    assert "task.max_megabytes=0.005" in reply.told["error"]


@pytest.mark.parametrize("query", ["run=-1", "run=a", "step=1.5", "step=-2", "run=%C2%B2"])
def test_numbers_that_are_none_are_refused(query: str) -> None:
    assert send(APP, f"/predict?{query}&name=a.png", b"x").status == 400


def test_a_mistake_is_told_in_a_line() -> None:
    reply = send(APP, "/predict?name=bad.txt", b"x")
    assert (reply.status, reply.told) == (422, {"error": "bad.txt is no image"})


def test_the_socket_is_on_loopback_and_a_taken_port_is_told() -> None:
    with bound(0) as place:
        address, port = place.getsockname()
        assert address == LOOPBACK
        with pytest.raises(LabError, match=rf"task.port={port} is taken; give another"):
            bound(port)
    with socket.socket() as other:
        other.bind((LOOPBACK, 0))
        other.listen()
        with pytest.raises(LabError, match="is taken"):
            bound(other.getsockname()[1])


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_there_is_not_is_told(port: int) -> None:
    with pytest.raises(LabError, match="give 1 to 65535"):
        bound(port)
