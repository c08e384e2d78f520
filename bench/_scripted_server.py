"""A scripted OpenAI-compatible server: answers by hash or by habit, fails to order, keeps a ledger.

One process, standard library only, so that it is not what a measurement waits for. `python -m
bench._scripted_server --model m --ledger FILE` prints the port it listens at. `POST /control` with JSON
changes any field of `Script` while it runs and forgets what was counted; `GET /control` shows the counts. The
ledger has one line per request, written before its answer leaves: when, what it asked, how it was treated. Lines
with the outcome "served" are the bill.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bench import _scripted_answers as answers
from bench._scripted_answers import Habit

PIECES = 20
ANSWERS: Mapping[str, Callable[[answers.Question], dict[str, Any]]] = {
    "/v1/chat/completions": answers.chat, "/v1/completions": answers.completion, "/tokenize": answers.tokenize,
    "/classify": answers.classify, "/v1/embeddings": answers.embed,
}
LINGER_NONE = struct.pack("ii", 1, 0)
"""SO_LINGER of no time: closing sends a reset"""


@dataclass(frozen=True)
class Fault:
    """One way to fail, and which requests it befalls: all that match, or those drawn by `share`.

    status   an error, with `retry_after` and `content` as its message       body       `content` is the whole body
    hang     never an answer                                                 truncated  half of the JSON, well framed
    delay    `seconds` before the answer                                     closed     half of the body, then closed
    drip     the answer over `seconds`, piece by piece                       reset      read whole, then reset
    says     `content` instead of what the model said                        unread     reset before it is read
    finish   `content` is the reason why the model stopped                   swapped    `content` is the model's name
    """

    kind: str
    share: float = 1.0
    """share of attempts, drawn from seed, body and attempt: the same ones in any order of arrival"""
    seed: int = 0
    attempts: int = 0
    """only the first so many attempts of each body; 0: all"""
    limit: int = 0
    """at most so many times; 0: no limit"""
    path: str = "/"
    """only where the path begins so"""
    containing: str = ""
    """only where the body contains this"""
    status: int = 500
    retry_after: str = ""
    """header of a `status`; empty: none"""
    seconds: float = 0.0
    """of delay and drip"""
    content: str = ""


@dataclass(frozen=True)
class Script:
    """Everything about the server that may be changed while it runs."""

    model: str = "m"
    habit: Habit = field(default_factory=Habit)
    faults: tuple[Fault, ...] = ()
    delay_s: float = 0.0
    """seconds before every answer"""
    key: str = ""
    """the only API key that /v1 takes; empty: any"""
    is_vllm: bool = True
    """whether it has what only vLLM has: /version, /tokenize, /classify"""

    def changed(self, fields: Mapping[str, Any]) -> Script:
        """The script with some fields replaced, from JSON; without any, as it was at the beginning."""
        if not fields:
            return Script(model=self.model)
        made: dict[str, Any] = dict(fields)
        if "habit" in made:
            made["habit"] = replace(self.habit, **made["habit"])
        if "faults" in made:
            made["faults"] = tuple(Fault(**fault) for fault in made["faults"])
        return replace(self, **made)


@dataclass
class Server:
    """What all connections share: the script, the ledger, counts."""

    script: Script
    ledger: int | None = None
    """descriptor of the ledger's file"""
    in_flight: int = 0
    most_in_flight: int = 0
    attempts: Counter[str] = field(default_factory=Counter)
    befell: Counter[Fault] = field(default_factory=Counter)

    def fault(self, path: str, body: bytes) -> Fault | None:
        """The first fault of the script that befalls this attempt."""
        name = hashlib.sha256(body).hexdigest()
        self.attempts[name] += 1
        attempt = self.attempts[name]
        read = (f for f in self.script.faults if f.kind != "unread")
        said = (f for f in read if f.containing.encode() in body)
        return next((f for f in said if self._befalls(f, path, name, attempt)), None)

    def unread(self, begin: bytes) -> bool:
        """Whether a request that begins so is reset before it is read; nobody knows which one it was."""
        fault = next((f for f in self.script.faults if f.kind == "unread"), None)
        path = begin.partition(b" ")[2].partition(b" ")[0].decode("latin-1")
        if fault is None or path not in ANSWERS:
            return False
        self.attempts[""] += 1
        return self._befalls(fault, path, "", self.attempts[""])

    def note(self, path: str, body: Mapping[str, Any], outcome: str) -> None:
        """One line in the ledger."""
        if self.ledger is not None:
            line = {"at": time.monotonic(), "path": path, "outcome": outcome, "model": body.get("model"),
                    "question": answers.question_id(answers.asked_of(body))}
            os.write(self.ledger, (json.dumps(line) + "\n").encode())

    def _befalls(self, fault: Fault, path: str, name: str, attempt: int) -> bool:
        if not path.startswith(fault.path) or (fault.limit and self.befell[fault] >= fault.limit):
            return False
        drawn = int(hashlib.sha256(f"{fault.seed} {fault.kind} {name} {attempt}".encode()).hexdigest()[:8], 16) / 2**32
        if drawn >= fault.share or (fault.attempts and attempt > fault.attempts):
            return False
        self.befell[fault] += 1
        return True


class Connection(asyncio.Protocol):
    """One client: requests one after the other, kept alive."""

    transport: asyncio.Transport

    def __init__(self, server: Server) -> None:
        self._server, self._buffer, self._is_busy = server, b"", False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Nothing is said before the client speaks."""
        self.transport = transport  # type: ignore[assignment]  # asyncio's own type for it is the wider one

    def connection_lost(self, error: Exception | None) -> None:
        """A client that leaves has nothing in flight."""
        self._ends()

    def data_received(self, data: bytes) -> None:
        """Take in bytes; answer when a request is whole and none is under way."""
        if not self._buffer and not self._is_busy and self._server.unread(data):
            self._server.note("", {}, "unread")
            self._reset()
            return
        self._buffer += data
        if not self._is_busy:
            self._next()

    def _next(self) -> None:
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        self._begins()
        method, path, *_ = lines[0].split(" ")
        self._answer(method, path.partition("?")[0], headers, rest[:length])

    def _begins(self) -> None:
        self._is_busy, server = True, self._server
        server.in_flight += 1
        server.most_in_flight = max(server.most_in_flight, server.in_flight)

    def _ends(self) -> None:
        if self._is_busy:
            self._is_busy, self._server.in_flight = False, self._server.in_flight - 1

    def _answer(self, method: str, path: str, headers: Mapping[str, str], raw: bytes) -> None:
        server = self._server
        if path == "/control":
            self._control(method, raw)
        elif path.startswith("/v1/") and server.script.key not in ("", headers.get("authorization", "")[7:]):
            self._send(401, {"error": "Unauthorized"})
        elif path in ("/health", "/version", "/v1/models"):
            self._about(path)
        elif path not in ANSWERS or (not path.startswith("/v1/") and not server.script.is_vllm):
            self._send(404, {"detail": "Not Found"})
        else:
            self._ask(path, raw)

    def _control(self, method: str, raw: bytes) -> None:
        server = self._server
        if method == "POST":
            server.script = server.script.changed(json.loads(raw))
            server.befell.clear()
            server.attempts.clear()
            server.most_in_flight = server.in_flight
        self._send(200, {"most_in_flight": server.most_in_flight, "befell": sum(server.befell.values()),
                         "script": asdict(server.script)})

    def _about(self, path: str) -> None:
        script = self._server.script
        if path == "/health":
            self._write(head(200, 0))
        elif path == "/version":
            self._send(*((200, {"version": "0.32.0"}) if script.is_vllm else (404, {"detail": "Not Found"})))
        else:
            self._send(200, answers.models(script.model))

    def _ask(self, path: str, raw: bytes) -> None:
        """One request to the model, or what befalls it."""
        server, body = self._server, json.loads(raw)
        fault = server.fault(path, raw)
        if fault and fault.kind not in ("delay", "drip", "says", "finish", "swapped"):
            server.note(path, body, f"status {fault.status}" if fault.kind == "status" else fault.kind)
            self._fail(fault, path, body)
        elif body.get("model") not in (None, server.script.model):
            server.note(path, body, "status 404")
            self._send(404, refusal(404, f"The model `{body['model']}` does not exist."))
        else:
            seconds = server.script.delay_s + (fault.seconds if fault and fault.kind == "delay" else 0.0)
            self._later(seconds, self._serve, fault, path, body)

    def _later(self, seconds: float, action: Callable[..., None], *arguments: object) -> None:
        if seconds:
            asyncio.get_running_loop().call_later(seconds, action, *arguments)
        else:
            action(*arguments)

    def _serve(self, fault: Fault | None, path: str, body: Mapping[str, Any]) -> None:
        if self.transport.is_closing():
            self._server.note(path, body, "abandoned")
            return
        made = ANSWERS[path](answers.read(body, self._server.script.habit))
        self._server.note(path, body, "swapped" if fault and fault.kind == "swapped" else "served")
        if fault and fault.kind == "drip":
            payload = json.dumps(made).encode()
            self.transport.write(head(200, len(payload)))
            self._drip(payload, -(-len(payload) // PIECES), fault.seconds / PIECES)
        else:
            self._send(200, amended(made, fault) if fault else made)

    def _drip(self, rest: bytes, size: int, pause: float) -> None:
        if self.transport.is_closing():
            return
        if len(rest) <= size:
            self._write(rest)
            return
        self.transport.write(rest[:size])
        self._later(pause, self._drip, rest[size:], size, pause)

    def _fail(self, fault: Fault, path: str, body: Mapping[str, Any]) -> None:
        payload = json.dumps(ANSWERS[path](answers.read(body, self._server.script.habit))).encode()
        half = payload[: len(payload) // 2]
        if fault.kind == "status":
            self._send(fault.status, refusal(fault.status, fault.content or "scripted"), fault.retry_after)
        elif fault.kind == "truncated":
            self._write(head(200, len(half)) + half)
        elif fault.kind == "body":
            self._write(head(200, len(fault.content.encode())) + fault.content.encode())
        elif fault.kind == "closed":
            self.transport.write(head(200, len(payload)) + half)
            self.transport.close()
        elif fault.kind == "reset":
            self._reset()

    def _reset(self) -> None:
        wire: socket.socket = self.transport.get_extra_info("socket")
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NONE)
        self.transport.abort()

    def _send(self, status: int, answer: object, retry_after: str = "") -> None:
        payload = json.dumps(answer).encode()
        self._write(head(status, len(payload), retry_after) + payload)

    def _write(self, last: bytes) -> None:
        """The end of an answer; then the next request of this client."""
        self._ends()
        self.transport.write(last)
        if self._buffer:
            self._next()


def head(status: int, length: int, retry_after: str = "") -> bytes:
    """Status line and headers."""
    extra = f"retry-after: {retry_after}\r\n" if retry_after else ""
    return f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{extra}\r\n".encode()


def refusal(status: int, message: str) -> dict[str, Any]:
    """An error in vLLM's form."""
    kinds = {400: "BadRequestError", 404: "NotFoundError", 422: "UnprocessableEntityError"}
    kind = kinds.get(status, "InternalServerError")
    return {"error": {"message": message, "type": kind, "param": None, "code": status}}


def amended(answer: dict[str, Any], fault: Fault) -> dict[str, Any]:
    """An answer whose model, content or end is another one."""
    if fault.kind == "swapped":
        return {**answer, "model": fault.content}
    said = dict(answer["choices"][0])
    if fault.kind == "says":
        said |= {"message": {"role": "assistant", "content": fault.content}, "logprobs": None}
    if fault.kind == "finish":
        said["finish_reason"] = fault.content
    return {**answer, "choices": [said]}


async def listen(script: Script, port: int, ledger: Path | None) -> None:
    """Serve until killed; the port is printed when connections are taken."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    server = Server(script, os.open(ledger, flags, 0o644) if ledger else None)
    listening = await asyncio.get_running_loop().create_server(lambda: Connection(server), "127.0.0.1", port)
    print(listening.sockets[0].getsockname()[1], flush=True)
    await listening.serve_forever()


def main() -> None:
    """Options from the command line."""
    parser = argparse.ArgumentParser(description="A scripted OpenAI-compatible server.")
    parser.add_argument("--model", default="m")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--ledger", type=Path)
    said = parser.parse_args()
    asyncio.run(listen(Script(model=said.model), said.port, said.ledger))


if __name__ == "__main__":
    main()
