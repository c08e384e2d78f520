"""What tests against the scripted server share: questions, settings, the adapter over one or more servers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from bench._scripted import Request, ScriptedServer
from bench._scripted_answers import question_id
from curate.adapters.vllm.served import ServedModels
from curate.engines import CallReply, CallRequest, Kind
from schemas.errors import UserError
from schemas.ids import content_id
from schemas.sections import Model
from schemas.settings import Endpoint, Price, Settings

__all__ = [
    "ScriptedServer", "answered", "asked_of", "billed", "endpoint", "judge", "once", "questions", "settings_of",
    "started",
]

JUDGE = Model(name="j", model="m", revision="1")
VERDICT = ("1", "2", "T")
HASTY: dict[str, Any] = {"timeout_s": 2.0, "connect_timeout_s": 1.0, "max_attempts": 4, "backoff_s": 0.01}
"""settings under which a test does not wait long"""


def started(tmp_path: Path, name: str = "a", *, model: str = "m", port: int = 0, **script: Any) -> ScriptedServer:
    """A scripted server with a ledger of its own; one of an earlier server of that name is continued."""
    return ScriptedServer(model, ledger=tmp_path / f"ledger-{name}.jsonl", port=port, **script)


def questions(n: int, *, choices: Sequence[str] = VERDICT, schema: str = "", first: int = 0) -> list[CallRequest]:
    """`n` questions to the judge `j`, told apart by their number; a key is a hash of it."""
    return [
        CallRequest(
            content_id("question", str(i)), "j", "{}", "", instrument="pairwise@1", choices=tuple(choices),
            schema=schema, parameters={"temperature": 0.0},
            messages=json.dumps([{"role": "system", "content": "Judge."}, {"role": "user", "content": f"<{i}>"}]),
        )
        for i in range(first, first + n)
    ]


def billed(request: CallRequest) -> str:
    """How the server's ledger names a request."""
    return question_id(json.loads(request.messages))


def asked_of(server: ScriptedServer, path: str = "/v1/chat/completions") -> list[Request]:
    """What the ledger holds of one path: the questions, without what the adapter asks to know the server."""
    return [request for request in server.ledger() if request.path == path]


def endpoint(server: ScriptedServer, **fields: Any) -> Endpoint:
    """Where the judge's model is served."""
    return Endpoint(model=server.model, url=server.url, **fields)


def settings_of(*endpoints: Endpoint | ScriptedServer, price: Price | None = None, **fields: Any) -> Settings:
    """Settings with these endpoints, short waits otherwise."""
    known = tuple(endpoint(e) if isinstance(e, ScriptedServer) else e for e in endpoints)
    return Settings(endpoints=known, prices=(price,) if price else (), **{**HASTY, **fields})


def judge(settings: Settings, *, secret: str = "", spent_usd: float = 0.0) -> ServedModels:
    """The adapter over these settings, for one judge; every key that is asked for is `secret`."""
    return ServedModels([JUDGE], settings, secret=lambda name: secret, spent_usd=spent_usd)


def once(
    settings: Settings, requests: Sequence[CallRequest], kind: Kind = "judge", *, secret: str = ""
) -> tuple[dict[str, CallReply], UserError | None]:
    """`answered` by an adapter of its own."""
    with closing(judge(settings, secret=secret)) as served:
        return answered(served, requests, kind)


def answered(
    served: ServedModels, requests: Sequence[CallRequest], kind: Kind = "judge"
) -> tuple[dict[str, CallReply], UserError | None]:
    """Replies by key, each asserted to come once, and the error that came after them."""
    replies: dict[str, CallReply] = {}
    try:
        for reply in served.ask(kind, requests):
            assert reply.call_key not in replies, "one reply per request"
            replies[reply.call_key] = reply
    except UserError as error:
        return replies, error
    return replies, None
