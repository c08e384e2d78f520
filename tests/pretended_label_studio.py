"""A pretended Label Studio in this process, for tests of what goes wrong: it does little, and fails on command."""

from __future__ import annotations

import datetime as dt
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import polars as pl

from schemas.ids import content_id
from schemas.tables import CARDS

NOON = dt.datetime(2026, 1, 2, 12, tzinfo=dt.UTC)
DATE = "Fri, 02 Jan 2026 13:00:00 GMT"
Reply = tuple[int, Any]


class Pretended:
    """A tiny Label Studio in this process: projects, tasks, imports, deletions; `faults` go first."""

    def __init__(self) -> None:
        self.projects: dict[int, dict[str, Any]] = {}
        self.tasks: dict[int, dict[str, Any]] = {}
        self.asked: list[tuple[str, str, str]] = []
        """(method, path, authorization)"""
        self.faults: list[Callable[[str, str], Reply | None]] = []
        self.date = DATE
        self.drops_bodies = False

    def reply(self, method: str, path: str, query: dict[str, str], body: Any) -> Reply:
        for fault in self.faults:
            if (said := fault(method, path)) is not None:
                return said
        number = int(found[1]) if (found := re.match(r"/api/projects/(\d+)", path)) else 0
        if path == "/api/token/refresh/":
            return 200, {"access": "ACCESS"}
        if number and number not in self.projects:
            return 404, {"detail": "No Project matches the given query."}
        if path.endswith("/import"):
            return 201, {"task_ids": [self.add(number, one["data"]) for one in body]}
        if path == "/api/projects":
            return self._projects(method, query, body)
        if number:
            self.projects[number] |= body or {} if method == "PATCH" else {}
            here = [t for t in self.tasks.values() if t["project"] == number]
            return 200, {**self.projects[number], "task_number": len(here)}
        if path == "/api/dm/actions":
            for i in body["selectedItems"]["included"]:
                if i in self.tasks and not self.tasks[i]["annotations"]:
                    del self.tasks[i]
            return 200, {}
        return self._tasks(query, body)

    def _projects(self, method: str, query: dict[str, str], body: Any) -> Reply:
        if method == "POST":
            number = len(self.projects) + 1
            self.projects[number] = {"id": number, **body}
            return 201, self.projects[number]
        page = int(query["page"])
        rows = [self.projects[i] for i in sorted(self.projects)][2 * page - 2 : 2 * page]
        return 200, {"count": len(self.projects), "results": rows}

    def _tasks(self, query: dict[str, str], body: Any) -> Reply:
        asked = json.loads(query["query"]) if "query" in query else body
        there = [self.tasks[i] for i in sorted(self.tasks) if self.tasks[i]["project"] == int(query["project"])]
        for one in asked["filters"]["items"]:
            column, value = one["filter"].removeprefix("filter:tasks:"), one["value"]
            if column == "data.task_key" and not self.drops_bodies:
                there = [t for t in there if t["data"].get("task_key") in value]
            if column == "id":
                there = [t for t in there if (t["id"] > value if one["operator"] == "greater" else t["id"] in value)]
            if column == "updated_at":
                there = [t for t in there if t["updated_at"] > value]
        return 200, {"tasks": there[: int(query["page_size"])]}

    def add(self, project: int, data: Any, *said: dict[str, Any], at: dt.datetime = NOON) -> int:
        number = max(self.tasks, default=0) + 1
        self.tasks[number] = {
            "id": number, "project": project, "data": data, "annotations": list(said), "cancelled_annotations": 0,
            "total_annotations": len(said), "updated_at": at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        return number

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Address while the block runs."""
        handler = type("Handler", (_Handler,), {"pretended": self})
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            yield f"http://127.0.0.1:{server.server_port}"
            server.shutdown()
            thread.join()

    def paths(self, method: str) -> list[str]:
        return [path for how, path, _ in self.asked if how == method]


def said(number: int, *aliases: str, user: int = 7, **fields: Any) -> dict[str, Any]:
    """An annotation as the server gives it."""
    result = [{"from_name": "verdict", "to_name": "pair", "type": "choices", "value": {"choices": list(aliases)}}]
    return {"id": number, "completed_by": user, "result": result, "was_cancelled": False, "parent_prediction": None,
            "lead_time": 3.0, "updated_at": "2026-01-02T12:00:00Z", **fields}


class _Handler(BaseHTTPRequestHandler):
    pretended: Pretended

    def _any(self) -> None:
        parts, pretended = urlsplit(self.path), self.pretended
        pretended.asked.append((self.command, parts.path, self.headers.get("authorization", "")))
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        status, body = pretended.reply(self.command, parts.path, query, json.loads(raw) if raw else None)
        if status == 0:
            self.close_connection = True
            return
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response_only(status)
        for name, value in (("date", pretended.date), ("content-length", str(len(content)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = _any  # noqa: N815

    def log_message(self, *words: object) -> None:
        """Quiet."""


def cards(n: int, first: int = 0) -> pl.DataFrame:
    return CARDS.complete(pl.DataFrame([
        {"task_key": content_id("task", i), "pair_id": content_id("pair", i), "queue": "all", "shown_first": "a",
         "prompt": '[{"role":"user","content":"?"}]', "text_first": "x", "text_second": "y", "purpose": "vote"}
        for i in range(first, first + n)
    ]))
