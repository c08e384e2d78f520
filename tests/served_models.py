"""Served models made on the spot: an answer is fixed by what is sent, and everything sent is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import polars as pl

from curate.adapters.trainer import EmbeddedTrainer
from curate.engines import CallReply, CallRequest, Judge, Kind
from flows.calling import thread_fan_out
from flows.engines import Engines
from flows.rounds import Turn, open_round
from schemas.recipe import parse_recipe
from schemas.tables import VOTERS
from warehouse.statements import statement
from warehouse.store import Store

Reply = Callable[[CallRequest], str | CallReply]
WORDS = ["river", "stone", "lamp", "cloud", "paper", "engine", "garden", "window", "music", "bread", "copper",
         "forest", "letter", "harbour", "winter", "candle", "silver", "market", "bridge", "thread"]


def prose(*parts: object, n: int = 12) -> str:
    """Words fixed by `parts`: two of them share hardly a word 5-gram."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return " ".join(WORDS[byte % len(WORDS)] for byte in digest[:n]) + "."


def answer(request: CallRequest) -> str:
    """What a policy says: fixed by the messages and the parameters."""
    return prose(request.voter, request.messages, sorted(request.parameters.items()))


def material(request: CallRequest) -> Any:
    """What a question to the writer is about."""
    return json.loads(json.loads(request.messages)[-1]["content"])


def write(request: CallRequest) -> str:
    """What the writer says to each of its instruments."""
    name, about = request.instrument.split("@")[0], material(request)
    if name == "grow":
        return json.dumps({"prompts": [f"Tell me of {prose(request.messages, i)}" for i in range(about["n"])]})
    if name == "attributes":
        return json.dumps({
            "task_category": "open question", "objectivity": "subjective", "controversiality": "low",
            "desired_attributes": ["clear", "short"], "annotation_guideline": "Prefer the clearer one.",
        })
    return json.dumps({"response": prose(name, about["response"])})


class ServedModels:
    """The engine `serve` over functions, one per recipe's name of a model, or one per kind of call."""

    def __init__(self, **replies: Reply) -> None:
        usual: dict[str, Reply] = {"generate": answer, "writer": write, "score": lambda r: str(len(r.messages))}
        self._replies = usual | replies
        self.asked: list[CallRequest] = []
        self.is_reversed = False

    def voters(self) -> pl.DataFrame:
        return VOTERS.complete(pl.DataFrame([
            {"voter": m["name"], "kind": "judge", "family": m["name"], "cost_usd": 0.0} for m in MODELS]))

    def identity(self, name: str) -> str:
        return f"served/{name}@1"

    def ask(self, kind: Kind, requests: Sequence[CallRequest]) -> Iterator[CallReply]:
        for request in reversed(requests) if self.is_reversed else requests:
            self.asked.append(request)
            said = self._replies.get(request.voter, self._replies[kind])(request)
            yield CallReply(request.call_key, said, output_tokens=7) if isinstance(said, str) else said

    def fingerprint(self, name: str) -> tuple[float, ...] | None:
        return None

    def close(self) -> None:
        """Nothing is open."""


MODELS = [{"name": n, "model": f"org/{n}", "licence": "Apache-2.0", "may_redistribute": True}
          for n in ("small", "large", "writer", "rm")]
POLICIES = [{"name": "plain", "model": "small"}, {"name": "kind", "model": "large", "system": "Be kind."}]


SECTIONS = ("sources", "judging", "seed", "world", "consensus", "training")


def served_turn(
    store: Store, served: ServedModels, say: Callable[[str], None] = lambda line: None, *, judge: Judge | None = None,
    **synthesis: object,
) -> Turn:
    """An open round whose policies are `served`, over whatever prompts the store holds."""
    sections = {name: synthesis.pop(name) for name in SECTIONS if name in synthesis}
    fields = {"dataset": "d", "models": MODELS, "filtering": {"method": "none"}, **sections,
              "synthesis": {"policies": POLICIES, "responses_per_prompt": 2, "pairs_per_prompt": 1, **synthesis}}
    recipe = parse_recipe(json.dumps(fields))
    engines = Engines(generate=None, judge=judge, train=EmbeddedTrainer(), world=None, recipe=recipe, serve=served)
    return open_round(store, engines, recipe, thread_fan_out(2), say)


def stored(store: Store, name: str) -> pl.DataFrame:
    """Rows of a table, or of a public view, in one order; ids as text."""
    sql = f"({statement('views', '07_lineage').rstrip().rstrip(';')})" if name == "lineage" else name
    with store.write("test") as writer:
        rows = writer._rows(f"SELECT COLUMNS(*)::VARCHAR FROM {sql} ORDER BY ALL", {}, {})
    flags = [c for c in ("is_out_of_fold", "may_redistribute") if c in rows.columns]
    return rows.with_columns(pl.col(c) == "true" for c in flags)
