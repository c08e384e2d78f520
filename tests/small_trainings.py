"""Trainings small enough to read: pairs whose better side says a word, and a trainer that counts words.

The trainer leaves the same folder as the real one. A model that it trained is served by `WordServer`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import polars as pl
from small_rounds import new_store, run_only

from curate.adapters.trl.orders import (
    MEASURE,
    REWARDS,
    TRAIN,
    file_sha256,
    folder_sha256,
    outcome_of,
    read_frame,
    read_order,
    write_json,
)
from curate.engines import CallReply, CallRequest, Kind, TrainingOutcome
from flows.calling import thread_fan_out
from flows.engines import engines_of
from flows.ingest import ingest
from flows.rounds import Turn, open_round
from flows.stages import STAGES
from schemas.ids import content_id_expr
from schemas.recipe import Recipe, parse_recipe
from schemas.settings import Settings
from schemas.tables import VOTERS
from warehouse.store import Store

SCALE = 0.5
BASE = "org/tiny"
GATE = {"min_groups": 2, "min_pairs": 2, "confidence": 0.8}


def tuned_recipe(**sections: object) -> Recipe:
    """Votes that are there, nobody asked, a language model trained on what comes of them."""
    fields: dict[str, object] = {
        "dataset": "d", "people": {"engine": "none"}, "filtering": {"method": "none"}, "gold": {"gate_share": 0.4},
        "training": {"engine": "trl", "trl": {"base": BASE, "dtype": "float32"}, "min_pairs": 4}, "gate": GATE,
        **sections,
    }
    return parse_recipe(json.dumps(fields))


def tuned_workspace(folder: Path, say: Callable[[str], None] = lambda line: None) -> Store:
    """A workspace in `folder` with 24 pairs and one round of a language-model recipe, whose model is due."""
    store = new_store(folder / "ws")
    put_pairs(store, folder, "first", range(24))
    store.workspace.recipe.write_text(tuned_recipe().canonical())
    tuned_round(store, tuned_recipe(), say)
    return store


def put_pairs(store: Store, folder: Path, name: str, pairs: range) -> None:
    """Pairs with five people's votes: the better side says "kind", the longer one never does."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    sides = [
        {"pair_id": f"{name}{i}", "prompt": f"{name} question number {i}", "response_a": f"kind words {i}",
         "response_b": f"harsh words {i}, and many more of them"} for i in pairs
    ]
    said = [{"pair_id": f"{name}{i}", "annotator": f"p{v}", "vote": "a" if v or i % 3 else "b"}
            for i in pairs for v in range(5)]
    for file, rows in (("pairs.jsonl", sides), ("annotations.jsonl", said)):
        (folder / name / file).write_text("\n".join(json.dumps(row) for row in rows))
    ingest(store, str(folder / name))


def tuned_turn(store: Store, recipe: Recipe, say: Callable[[str], None] = lambda line: None,
               settings: Settings | None = None) -> Turn:
    """An open round of the recipe."""
    return open_round(store, engines_of(recipe, None, settings), recipe, thread_fan_out(1), say)


def tuned_round(store: Store, recipe: Recipe, say: Callable[[str], None] = lambda line: None,
                settings: Settings | None = None) -> Turn:
    """One whole round."""
    turn = tuned_turn(store, recipe, say, settings)
    run_only(turn, *STAGES)
    return turn


class WordTrainer:
    """Carries an order out by counting: a word is worth how much oftener it stood on the better side."""

    def __init__(self, *, sign: float = 1.0, unread: str = "\0") -> None:
        self._sign, self._unread = sign, unread  # texts that hold the word `unread` are not read
        self.orders: list[str] = []

    def __call__(self, folder: Path) -> TrainingOutcome:
        order = read_order(folder)
        self.orders.append(order.model)
        lessons, readings = read_frame(folder, TRAIN), read_frame(folder, MEASURE)
        worth = word_worth(lessons, self._sign)
        said = readings.filter(~pl.col("messages").str.contains(self._unread, literal=True))
        (folder / "model").mkdir()
        groups = lessons.select(content_id_expr([pl.lit("group"), "group_id"])).to_series().unique().sort().to_list()
        write_json(folder / "model" / "model.json", {"groups": groups, "worth": worth})
        said.select("response_id", reward=pl.col("messages").map_elements(
            lambda m: reward(worth, m), return_dtype=pl.Float64)).write_parquet(folder / REWARDS)
        write_json(folder / "outcome.json", {
            "model": order.model, "scale": SCALE, "metrics": {"n_train": lessons.height},
            "sha256": folder_sha256(folder / "model"), "rewards_sha256": file_sha256(folder / REWARDS)})
        outcome = outcome_of(folder)
        assert outcome is not None
        return outcome


def word_worth(lessons: pl.DataFrame, sign: float) -> dict[str, float]:
    """Words to numbers."""
    counts: Counter[str] = Counter()
    for row in lessons.iter_rows(named=True):
        better = 1 if row["p_a"] + row["p_tie"] / 2 > 0.5 else -1
        counts.update(dict.fromkeys(row["text_a"].split(), better))
        counts.subtract(dict.fromkeys(row["text_b"].split(), better))
    return {word: sign * n / lessons.height for word, n in sorted(counts.items()) if word.isalpha()}


def reward(worth: dict[str, float], messages: str) -> float:
    """Sum over the words of the last message."""
    return sum(worth.get(word, 0.0) for word in json.loads(messages)[-1]["content"].split())


class WordServer:
    """The engine `serve` over one model of `WordTrainer`, as it lies in its folder."""

    def __init__(self, folder: Path, *, shift: float = 0.0) -> None:
        self._worth = json.loads((folder / "model.json").read_text())["worth"]
        self._shift = shift
        self.asked: list[CallRequest] = []

    def voters(self) -> pl.DataFrame:
        return VOTERS.empty()

    def identity(self, name: str) -> str:
        return f"{name}@1"

    def ask(self, kind: Kind, requests: Sequence[CallRequest]) -> Iterator[CallReply]:
        assert kind == "score"
        for request in requests:
            self.asked.append(request)
            said = reward(self._worth, request.messages) + self._shift
            yield CallReply(request.call_key, repr(said), prompt_tokens=3, cost_usd=0.01)

    def fingerprint(self, name: str) -> tuple[float, ...] | None:
        return None

    def close(self) -> None:
        """Nothing is open."""


def rows(store: Store, sql: str) -> list[tuple[object, ...]]:
    """Rows of a query over the writer's database."""
    with store.write("test") as writer:
        return writer._rows(sql, {}, {}).rows()
