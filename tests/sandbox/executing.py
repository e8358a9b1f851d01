"""Exec by websocket (`v5.channel.k8s.io`, `v4.channel.k8s.io`) of the one command that is needed here.

`pilot-agent request GET PATH` prints what the pretend Envoy beside it answers, behind a line of its own, as it does
where it misses the roots of the system. A ztunnel has no pilot-agent.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from aiohttp import web

from sandbox.forwarding import ADMIN_PORT
from sandbox.status import ApiError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from sandbox.forwarding import Admin
    from sandbox.resources import Target
    from sandbox.shapes import Body
    from sandbox.store import Store

_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_OUTPUT, _ERRORS, _STATUS = b"\1", b"\2", b"\3"
_WARNING = b"2026-11-24T08:00:00.000000Z\twarn\tOS CA Cert could not be found for agent\n"


async def execute(
    raw: web.BaseRequest, target: Target, store: Store, admins: Mapping[tuple[str, str], Admin], closing: asyncio.Event
) -> web.StreamResponse:
    body = store.get(target).body
    container, command = raw.query.get("container", ""), raw.query.getall("command", [])
    if body["status"]["phase"] == "Pending":
        raise ApiError(400, f"pod {target.name} does not have a host assigned")
    if body["status"]["phase"] != "Running":
        words = "cannot exec into a container in a completed pod"
        raise ApiError(400, f"{words}; current phase is {body['status']['phase']}")
    containers = [one["name"] for key in ("containers", "initContainers") for one in body["spec"].get(key, ())]
    if container not in containers:
        raise ApiError(400, f"container {container} is not valid for pod {target.name}")
    websocket = web.WebSocketResponse(protocols=_PROTOCOLS)
    if not websocket.can_prepare(raw):
        raise ApiError(400, "Upgrade request required")
    await websocket.prepare(raw)
    admin = admins.get((target.namespace, target.name))
    if admin is not None and admin.proxy.answers == "hangs":
        await closing.wait()
    for channel, content in _ran(body, command, admin):
        for begin in range(0, len(content), 4096):
            await websocket.send_bytes(channel + content[begin : begin + 4096])
    await websocket.close()
    return websocket


def _ran(pod: Body, command: list[str], admin: Admin | None) -> list[tuple[bytes, bytes]]:
    """What comes on which channel."""
    is_ztunnel = pod["metadata"].get("labels", {}).get("app") == "ztunnel"
    port, words = ADMIN_PORT, list(command)
    if len(words) > 2 and words[2].startswith("--debug-port="):
        port = int(words.pop(2).partition("=")[2])
    if words[:3] != ["pilot-agent", "request", "GET"] or is_ztunnel:
        why = "OCI runtime exec failed: exec failed: unable to start container process: exec: "
        why += f"{json.dumps(words[0])}: executable file not found in $PATH: unknown"
        return [(_STATUS, ApiError(500, f"error executing command in container: {why}").text)]
    if admin is None or port != ADMIN_PORT:
        why = f'Get "http://localhost:{port}/{words[3]}": dial tcp 127.0.0.1:{port}: connect: connection refused'
        return [(_ERRORS, f"Error: {why}\n".encode()), (_STATUS, _exit(1))]
    status, answer = admin.page(words[3])
    if why := _unsuccessful(status, answer, port, resets=admin.proxy.answers == "resets"):
        return [(_ERRORS, f"Error: {why}\n".encode()), (_STATUS, _exit(1))]
    if admin.proxy.answers == "cut":
        return [(_OUTPUT, _WARNING + answer[: len(answer) // 2])]
    return [(_OUTPUT, _WARNING + answer + b"\n"), (_STATUS, b'{"metadata":{},"status":"Success"}')]


def _unsuccessful(status: int, answer: bytes, port: int, *, resets: bool) -> str:
    """What the agent says of an answer that it does not print (pilot/pkg/request/command.go): it prints a 404."""
    if resets:
        return f"read tcp 127.0.0.1:46188->127.0.0.1:{port}: read: connection reset by peer"
    if status == 302:
        return "302 response missing Location header"
    return f"received unsuccessful status code {status}: {answer.decode()}" if status > 399 and status != 404 else ""


def _exit(code: int) -> bytes:
    status = {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }
    return json.dumps(status).encode()
