"""Tournament, contrasts, failure mining and augmentation through the stage: rows with their origin and lineage."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from served_models import ServedModels, answer, material, served_turn, stored
from small_rounds import StubbornJudge, run_only
from small_rows import votes, world
from test_prompt_sources import put_prompts

from curate.engines import CallReply, CallRequest
from flows.reward_models import Incumbent
from warehouse.store import Store

pytestmark = [pytest.mark.usefixtures("unpublished"), pytest.mark.service]
JUDGED = {"world": {"judges": [{"name": "j"}]}, "judging": {"judges": ["j"]}}


def last_in_the_alphabet(first: str, second: str) -> str:
    return "1" if first > second else "2"


def test_every_match_of_a_tournament_is_a_vote_and_the_champion_is_in_every_pair(store: Store, tmp_path: Path) -> None:
    put_prompts(store, tmp_path, n=2)
    judge = StubbornJudge(last_in_the_alphabet)
    turn = served_turn(store, ServedModels(), judge=judge, method="tournament", responses_per_prompt=4, **JUDGED)
    run_only(turn, "synthesize")
    pairs, said = stored(store, "pairs"), stored(store, "votes")
    assert pairs["origin"].unique().to_list() == ["tournament"]
    assert pairs.height == 6  # three matches for four candidates
    assert said.group_by("pair_id").len()["len"].to_list() == [2] * 6
    texts = stored(store, "responses").join(stored(store, "texts").drop("response_id", strict=False), on="text_id")
    best = texts.sort("text").group_by("prompt_id").last().select("prompt_id", champion="response_id")
    met = pairs.join(best, on="prompt_id").filter(
        pl.any_horizontal(pl.col("response_a", "response_b") == pl.col("champion")))
    assert met.group_by("prompt_id").len()["len"].to_list() == [2, 2]  # two matches won
    n_asked = len(judge.asked)
    run_only(turn, "judge")
    assert len(judge.asked) == n_asked


def test_a_contrast_names_what_it_changes_its_parent_and_its_instrument(store: Store, tmp_path: Path) -> None:
    def ruder(request: CallRequest) -> str:
        return json.dumps({"response": material(request)["response"] + " Go away."})

    put_prompts(store, tmp_path, n=2)
    contrast = {"attribute": "politeness", "instruction": "Make it rude."}
    run_only(served_turn(store, ServedModels(writer=ruder), writer="writer", contrasts=[contrast]), "synthesize")
    pairs = stored(store, "pairs").filter(pl.col("origin") == "contrast:politeness")
    assert pairs["declared_contrast"].to_list() == ["politeness"] * 2
    lineage = stored(store, "lineage").filter(pl.col("instrument") == "contrast@1")
    assert set(lineage["parent_author"]) <= set(stored(store, "policies")["policy"])
    assert lineage.select("author", "model", "licence").unique().rows() == [
        ("served/writer@1", "org/writer", "Apache-2.0")]
    assert stored(store, "instruments").select("instrument", "version").rows() == [("contrast", "1")]


def test_a_contrast_that_changes_more_than_it_says_or_fails_is_left_out_with_its_reason(
    store: Store, tmp_path: Path
) -> None:
    def careless(request: CallRequest) -> CallReply:
        doubled = json.dumps({"response": material(request)["response"] * 3})
        is_cut = material(request)["attribute"] == "tone"
        return CallReply(request.call_key, doubled, "length" if is_cut else "stop")

    put_prompts(store, tmp_path, n=1)
    contrasts = [{"attribute": "tone", "instruction": "Warmer."}, {"attribute": "politeness", "instruction": "Ruder."}]
    run_only(served_turn(store, ServedModels(writer=careless), writer="writer", contrasts=contrasts), "synthesize")
    assert stored(store, "pairs")["origin"].unique().to_list() == ["random"]
    assert {"length", "length_changed"} <= set(stored(store, "discards")["reason"])


@pytest.fixture
def labelled(store: Store) -> Store:
    """A store with one released version of eight pairs, `good` above `bad`."""
    frames = world(8)
    ids = frames["texts"].filter(pl.col("text").str.starts_with("good"))["text_id"].to_list()
    good = frames["responses"].filter(pl.col("text_id").is_in(ids))["response_id"].to_list()
    is_a = frames["pairs"]["response_a"].is_in(good)
    said = [votes(frames["pairs"].filter(is_a), "ann", 1.0), votes(frames["pairs"].filter(~is_a), "ann", 0.0)]
    with store.write("test") as writer:
        writer.append({**frames, "votes": pl.concat(said)})
    run_only(served_turn(store, ServedModels(), n_failures=4, writer="writer"), "settle", "release", "gate")
    return store


def test_own_responses_beat_moved_ones_in_a_source_of_their_own(labelled: Store) -> None:
    run_only(served_turn(labelled, ServedModels(), n_augmented=6, sources=["hand"]), "synthesize")
    derived = stored(labelled, "pairs").filter(pl.col("source") == "d+rrm")
    assert derived.height == 6
    assert derived["origin"].unique().to_list() == ["augmented:rrm"]
    votes_of_rrm = stored(labelled, "votes").filter(pl.col("voter") == "rrm")
    assert set(votes_of_rrm["pair_id"]) == set(derived["pair_id"])
    with labelled.write("test") as writer:  # and the dataset does not learn from them unless its recipe says so
        assert writer.query("scope_pairs", sources=["hand"]).height == 16


class LikesLong:
    """A reward model that scores length, and nothing else."""

    def can_score(self, comparisons: pl.DataFrame) -> pl.Series:
        return pl.Series("can_score", [True] * comparisons.height)

    def score(self, comparisons: pl.DataFrame) -> pl.DataFrame:
        return comparisons.select(
            "pair_id", score_a=pl.col("text_a").str.len_chars().cast(pl.Float64),
            score_b=pl.col("text_b").str.len_chars().cast(pl.Float64), fold=pl.lit(None, pl.Int64),
            is_out_of_fold=pl.lit(True))


def test_a_perturbed_response_that_fools_the_promoted_model_becomes_a_pair(
    labelled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def longer_or_shorter(request: CallRequest) -> str:
        text = material(request)["response"]
        return json.dumps({"response": text[:3] if text.startswith("good") else text + " and so on and on"})

    fooled = Incumbent("long", "long", LikesLong())  # type: ignore[arg-type]
    monkeypatch.setattr("flows.rewriting.load_incumbent", lambda writer, turn: fooled)
    served, lines = ServedModels(writer=longer_or_shorter), list[str]()
    run_only(served_turn(labelled, served, lines.append, n_failures=12, writer="writer"), "synthesize")
    mined = stored(labelled, "pairs").filter(pl.col("origin") == "adversarial:long")
    assert mined.height > 0
    assert any(f"{mined.height} of 12 perturbed responses fool long" in line for line in lines)
    lineage = stored(labelled, "lineage").filter(pl.col("instrument").str.starts_with("perturb"))
    assert lineage["parent_id"].null_count() == 0


def test_before_a_model_is_promoted_there_is_nothing_to_fool_and_the_user_is_told(labelled: Store) -> None:
    lines: list[str] = []
    run_only(served_turn(labelled, ServedModels(), lines.append, n_failures=4, writer="writer"), "synthesize")
    assert any("no failures to mine before a reward model is promoted" in line for line in lines)


def test_the_promoted_model_scores_candidates_when_the_recipe_says_incumbent(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_prompts(store, tmp_path, n=1)
    promoted = Incumbent("long", "long", LikesLong())  # type: ignore[arg-type]
    monkeypatch.setattr("flows.candidates.load_incumbent", lambda writer, turn: promoted)
    served = ServedModels(generate=lambda r: answer(r) + "!" * (r.parameters["seed"] % 7))  # type: ignore[operator]
    run_only(served_turn(store, served, method="best_of_n", scorer="incumbent"), "synthesize")
    scores = stored(store, "scores")
    assert scores.select("model", "template", "is_out_of_fold").unique().rows() == [("long", "prompt-response@1", True)]
    assert scores.height == 2
