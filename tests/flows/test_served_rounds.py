"""Whole rounds over served judges: nothing is paid twice, the gate's gold is seen by nobody, order decides nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl
import pytest
from served_models import ServedModels, served_turn
from small_rounds import fingerprints, new_store, run_only
from small_rows import votes, world
from test_prompt_sources import put_prompts

from curate.adapters.trainer import EmbeddedTrainer
from curate.engines import CallReply, CallRequest, Kind
from flows.calling import thread_fan_out, unknown_calls
from flows.consensus import with_calibration
from flows.engines import Engines
from flows.judging import examined, to_ask
from flows.likelihoods import weigh
from flows.panel import judges_of
from flows.rounds import Turn, abandon_round, open_round, run_stages
from flows.stages import STAGES
from schemas.errors import RefusedError
from schemas.recipe import parse_recipe
from schemas.tables import GOLD, VOTERS
from warehouse.store import Store

pytestmark = [pytest.mark.usefixtures("unpublished"), pytest.mark.service]
NAMES = ("j", "w")
EVERYTHING = {
    "judges": list(NAMES), "instrument": "pairwise-reasoned@1", "n_samples": 2, "temperature": 0.7, "n_shots": 2,
    "rate": ["helpfulness", "correctness"], "meta_judge": "w", "verifiers": ["length:min_chars=5"],
    "density_ratio": ["j", "w"], "follow_up": "w", "calibration": "temperature", "longer_tie_chars": 1,
}
"""every voter beside the judges, and everything that they are shown and read with"""
LENIENT = {"min_accuracy": 0.0, "max_flip_rate": 1.0, "max_fooled": 1.0, "max_failure_rate": 1.0}


class Models:
    """Keeps `curate.engines.Serve`. An answer hangs on what is sent: the better text mostly wins."""

    def __init__(self, *, is_reversed: bool = False, is_down: bool = False) -> None:
        self.asked: list[CallRequest] = []
        self._is_reversed, self._is_down = is_reversed, is_down

    def voters(self) -> pl.DataFrame:
        return VOTERS.complete(pl.DataFrame([{"voter": n, "kind": "judge", "family": n, "cost_usd": 0.0}
                                             for n in NAMES]))

    def identity(self, name: str) -> str:
        return f"served/{name}@1"

    def ask(self, kind: Kind, requests: Sequence[CallRequest]) -> Iterator[CallReply]:
        assert not self._is_down, "asked although everything is known"
        for request in reversed(requests) if self._is_reversed else requests:
            self.asked.append(request)
            yield CallReply(request.call_key, answer(kind, request))

    def fingerprint(self, name: str) -> tuple[float, ...] | None:
        return None

    def close(self) -> None:
        """Nothing is open."""


def answer(kind: Kind, request: CallRequest) -> str:
    """A number, one of the choices, or JSON with one of the schema's verdicts: fixed by the question."""
    asked = "|".join([request.messages, request.voter, str(request.sample)])
    chance = hashlib.sha256(asked.encode()).digest()[0]
    if kind == "likelihood":
        return str(-float(chance))
    token = token_of(request, chance)
    return token if request.choices else json.dumps({"reasoning": "so it is", "verdict": token})


def token_of(request: CallRequest, chance: int) -> str:
    """The good response is better seven times of eight; whatever is no comparison is left to chance."""
    tokens = request.choices or json.loads(request.schema)["properties"]["verdict"]["enum"]
    shown = json.loads(request.messages)[-1]["content"].rpartition("Conversation, user ===")[2]
    good, bad = (shown.find(f"\n{word} ") for word in ("good", "bad"))
    if chance < 32 or min(good, bad) < 0:
        return str(tokens[chance % len(tokens)])
    return str(tokens[0] if good < bad else tokens[1 if len(tokens) < 4 else 4])


def round_of(store: Store, models: Models, judging: Mapping[str, object], **sections: object) -> Turn:
    """One whole round."""
    turn = opened(store, models, judging, **sections)
    run_stages(turn, list(STAGES.items()))
    return turn


def opened(store: Store, models: Models, judging: Mapping[str, object], **sections: object) -> Turn:
    """An open round."""
    fields = {"dataset": "d", "models": [{"name": n, "model": f"org/{n}"} for n in NAMES], "judging": judging,
              "people": {"engine": "none"}, "filtering": {"method": "none"}, **sections}
    recipe = parse_recipe(json.dumps(fields))
    engines = Engines(generate=None, judge=None, train=EmbeddedTrainer(), world=None, recipe=recipe, serve=models)
    return open_round(store, engines, recipe, thread_fan_out(2), lambda line: None)


def store_of(
    root: Path, n: int, gold: dict[str, tuple[int, int]], *, system: str | None = None,
    origins: Sequence[str] | None = None,
) -> Store:
    """`n` pairs, and gold of a use for the pairs from one number to another, by their questions."""
    store, rows = new_store(root), world(n)
    rows["prompts"] = rows["prompts"].with_columns(system=pl.lit(system, pl.String))
    if origins:
        rows["pairs"] = rows["pairs"].with_columns(origin=pl.Series(origins))
    asked = rows["prompts"].join(rows["texts"], on="text_id").with_columns(
        pl.col("text").str.extract(r"question (\d+)").cast(pl.Int64).alias("i"))
    numbered = rows["pairs"].join(asked.select("prompt_id", "i"), on="prompt_id").join(
        rows["responses"].join(rows["texts"], on="text_id").select(response_a="response_id", first="text"),
        on="response_a")
    known = [
        numbered.filter(pl.col("i").is_between(low, high - 1)).select(
            "pair_id", p_a=pl.col("first").str.starts_with("good").cast(pl.Float64), p_tie=pl.lit(0.0),
            why=pl.lit("by hand"), source=pl.lit("hand"), use=pl.lit(use), criterion=pl.lit("overall"))
        for use, (low, high) in gold.items()
    ]
    with store.write("test") as writer:
        writer.append({**rows, "votes": votes(rows["pairs"].head(4), "ann"),
                       "gold": pl.concat([GOLD.empty(), *(GOLD.complete(k) for k in known)])})
    return store


def said(store: Store) -> int:
    with store.write("test") as writer:
        return int(writer.query("n_rows")["votes"].item())


def test_an_unchanged_recipe_is_paid_for_once_however_many_rounds_follow(tmp_path: Path) -> None:
    store = store_of(tmp_path / "ws", 8, {"calibrate": (0, 4)})
    judging = {**EVERYTHING, "qualification": LENIENT}
    round_of(store, Models(), judging)
    n_votes = said(store)
    for _ in range(2):
        round_of(store, Models(is_down=True), judging)
    assert said(store) == n_votes
    assert len(fingerprints(store)) == 1


def test_answers_in_another_order_make_the_same_version(tmp_path: Path) -> None:
    found = []
    for name, is_reversed in (("one", False), ("two", True)):
        store = store_of(tmp_path / name, 8, {"calibrate": (0, 4)})
        round_of(store, Models(is_reversed=is_reversed), {**EVERYTHING, "qualification": LENIENT})
        found.append(fingerprints(store))
    assert found[0] == found[1]


def test_no_model_is_shown_anything_of_the_gates_gold(tmp_path: Path) -> None:
    store, models = store_of(tmp_path / "ws", 10, {"calibrate": (0, 4), "gate": (6, 8)}), Models()
    round_of(store, models, {**EVERYTHING, "qualification": LENIENT})
    sent = "\n".join(request.messages for request in models.asked)
    assert all(f"question {i}" in sent for i in (0, 5, 9))
    assert not any(f"{word} {i}" in sent for i in (6, 7) for word in ("question", "good", "bad"))


def test_a_pair_is_never_shown_its_own_gold_as_an_example(tmp_path: Path) -> None:
    store, models = store_of(tmp_path / "ws", 6, {"calibrate": (0, 4)}), Models()
    round_of(store, models, {"judges": ["j"], "n_shots": 8})
    for request in models.asked:
        shown = json.loads(request.messages)[-1]["content"]
        examples, _, asked = shown.rpartition("Conversation, user ===")
        question = asked.split("\n")[1]
        assert "known verdict" in examples
        assert f"{question}\n" not in examples


def test_more_tokens_for_a_verdict_of_one_token_cost_no_call(tmp_path: Path) -> None:
    store = store_of(tmp_path / "ws", 4, {})
    round_of(store, Models(), {"judges": ["j"]})
    round_of(store, Models(is_down=True), {"judges": ["j"], "max_tokens": 99})
    assert said(store) == 4 + 16  # the votes of people, and both questions' votes of the judge


def test_a_judge_that_fails_its_examination_neither_votes_nor_rates(tmp_path: Path) -> None:
    store = store_of(tmp_path / "ws", 8, {"calibrate": (0, 6)})
    strict = {"judges": ["j"], "rate": ["helpfulness"], "qualification": {"min_accuracy": 0.99}}
    with pytest.raises(RefusedError, match="judges may vote"):
        round_of(store, Models(), strict)
    assert said(store) == 4


@pytest.mark.parametrize("dataset", ["d", "another"])
def test_what_a_stricter_recipe_refused_silences_nobody_in_another_recipe(tmp_path: Path, dataset: str) -> None:
    store = store_of(tmp_path / "ws", 8, {"calibrate": (0, 4)})
    lenient = {"judges": ["j"], "qualification": LENIENT}
    round_of(store, Models(), lenient)
    with pytest.raises(RefusedError, match="judges may vote"):
        round_of(store, Models(), {"judges": ["j"], "qualification": {"min_accuracy": 0.99}}, dataset=dataset)
    assert abandon_round(store, dataset) is not None
    round_of(store, Models(is_down=True), lenient)
    assert len(fingerprints(store)) == 1, "the same votes count as before, so nothing is new"


def first_choice(request: CallRequest) -> str:
    return request.choices[0]


def all_pairs(turn: Turn) -> pl.DataFrame:
    """Every pair in scope as the judge stage hands it to the recipe's first judge, as if nobody had voted."""
    member = judges_of(turn)[0]
    panel = pl.DataFrame({"voter": [member.voter], "instrument": ["no such question"]})
    with turn.store.write("test") as writer:
        return writer.query("pairs_to_judge", {"panel": panel}, sources=[], criterion="overall")


def unknown(turn: Turn, pairs: pl.DataFrame) -> list[CallRequest]:
    """Calls that judging the pairs would need and that are not recorded."""
    return unknown_calls(turn.store, to_ask(turn, pairs, judges_of(turn)))


def are_told(asked: Sequence[CallRequest]) -> bool:
    """Whether each question to a judge shows the system prompt."""
    return bool(asked) and all("Conversation, system ===\\nBe brief." in r.messages for r in asked)


def test_matches_of_a_tournament_are_asked_as_the_judge_stage_asks_system_prompts_included(
    store: Store, tmp_path: Path
) -> None:
    put_prompts(store, tmp_path, n=2, system="Be brief.")
    served = ServedModels(judge=first_choice)
    judging = {"judges": ["rm"]}
    turn = served_turn(store, served, method="tournament", responses_per_prompt=4, judging=judging)
    run_only(turn, "synthesize")
    assert are_told([request for request in served.asked if request.voter == "rm"])
    assert all_pairs(turn).height == 6
    assert unknown(turn, all_pairs(turn)) == []


def test_an_examination_asks_as_the_judge_stage_does_system_prompts_included(tmp_path: Path) -> None:
    store, models = store_of(tmp_path / "ws", 4, {"calibrate": (0, 4)}, system="Be brief."), Models()
    turn = opened(store, models, {"judges": ["j"], "qualification": LENIENT})
    assert [member.name for member in examined(turn)] == ["j"]
    assert are_told(models.asked)
    assert len({request.messages for request in models.asked}) > 8, "gold and probes"
    assert unknown(turn, all_pairs(turn)) == []


def test_a_judge_is_known_by_the_temperature_of_its_verdicts_on_pairs_not_of_its_ratings() -> None:
    fits = pl.DataFrame([
        {"voter": "j", "instrument": "rating@1/aa", "n_pairs": 90, "temperature": 9.0},
        {"voter": "j", "instrument": "pairwise@1/bb", "n_pairs": 40, "temperature": 2.0},
        {"voter": "j", "instrument": "old@1/cc", "n_pairs": 30, "temperature": 3.0},
        {"voter": "w", "instrument": None, "n_pairs": 30, "temperature": 4.0},
    ])
    shown = with_calibration(pl.DataFrame({"voter": ["ann", "j", "w"]}), fits)
    assert shown.rows() == [("ann", None), ("j", 2.0), ("w", 4.0)]


def test_likelihoods_are_asked_only_of_pairs_that_are_voted_on(tmp_path: Path) -> None:
    store = store_of(tmp_path / "ws", 4, {}, origins=["hand", "hand", "hand", "augmented:rrm"])
    models = Models()
    frames = weigh(opened(store, models, {"density_ratio": ["j", "w"]}))
    assert (frames["votes"].height, frames["scores"].height, len(models.asked)) == (3, 6, 12)
