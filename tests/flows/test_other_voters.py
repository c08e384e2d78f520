"""Verifiers, ratings, aids, the meta-judge and likelihoods in a round, over a served model that answers by rule."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence

import polars as pl
import pytest
from small_rows import votes as votes_by_hand
from small_rows import world

from curate.adapters.trainer import EmbeddedTrainer
from curate.engines import CallReply, CallRequest, Kind
from curate.judging.aids import FROM_PAIR
from curate.verifying.votes import veto
from flows.aids import aids
from flows.calling import thread_fan_out
from flows.engines import Engines
from flows.likelihoods import likelihood_members, weigh
from flows.rating import rate, rating_members
from flows.reviewing import reviewed
from flows.rounds import Turn, open_round
from flows.verifiers import verifier_members, verify, vetoed
from schemas.errors import RecipeError
from schemas.recipe import parse_recipe
from schemas.tables import GOLD, PROMPT_TAGS, VOTERS
from warehouse.store import Store

pytestmark = [pytest.mark.usefixtures("unpublished"), pytest.mark.service]

Rule = Callable[[Kind, CallRequest], str]
NAMES = ("m", "w", "other")


class Served:
    """Keeps `curate.engines.Serve`; what it answers is a function of the kind of call and the request."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self.asked: list[tuple[Kind, CallRequest]] = []

    def voters(self) -> pl.DataFrame:
        rows = [{"voter": n, "kind": "judge", "family": f"base-of-{n}", "cost_usd": 0.0} for n in NAMES]
        return VOTERS.complete(pl.DataFrame(rows))

    def identity(self, name: str) -> str:
        return f"served/{name}@1"

    def ask(self, kind: Kind, requests: Sequence[CallRequest]) -> Iterator[CallReply]:
        for request in requests:
            self.asked.append((kind, request))
            yield CallReply(request.call_key, self._rule(kind, request))

    def fingerprint(self, name: str) -> tuple[float, ...] | None:
        return None

    def close(self) -> None:
        """Nothing is held."""


def turn_of(store: Store, served: Served, **judging: object) -> Turn:
    fields = {"dataset": "d", "models": [{"name": n, "model": f"served-{n}"} for n in NAMES], "judging": judging}
    recipe = parse_recipe(json.dumps(fields))
    engines = Engines(generate=None, judge=None, train=EmbeddedTrainer(), world=None, recipe=recipe, serve=served)
    return open_round(store, engines, recipe, thread_fan_out(2), lambda line: None)


def silent(kind: Kind, request: CallRequest) -> str:
    raise AssertionError(f"asked: {kind}")


def good_side(frame: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """Votes with `is_good`: whether a is the response that is called good."""
    return frame.join(pairs, on="pair_id")


@pytest.fixture
def pairs(store: Store) -> pl.DataFrame:
    """Four pairs of `good <i>` and `bad <i>`: (pair_id, is_a_good)."""
    rows = world(4)
    with store.write("test") as writer:
        writer.append(rows)
        texts = writer.query("pair_texts", {"wanted": rows["pairs"].select("pair_id")})
    return texts.select("pair_id", "prompt", "text_a", "text_b", is_a_good=pl.col("text_a").str.starts_with("good"))


def stored(store: Store, frames: dict[str, pl.DataFrame]) -> None:
    with store.write("test") as writer:
        writer.append(frames)


def test_a_verifier_votes_on_every_pair_in_scope_once(store: Store, pairs: pl.DataFrame) -> None:
    turn = turn_of(store, Served(silent), verifiers=["must_mention:good", "length:max_words=9"])
    frames = verify(turn)
    said = good_side(frames["votes"].filter(pl.col("voter") == "verifier/must_mention:good"), pairs)
    assert said.height == 4
    assert said.filter((pl.col("p_a") == 1.0) != pl.col("is_a_good")).is_empty()
    assert frames["votes"].filter(pl.col("voter") == "verifier/length:max_words=9")["is_abstention"].all()
    assert set(verifier_members(turn)) == set(frames["votes"].select("voter", "instrument").iter_rows())
    stored(store, frames)
    assert verify(turn)["votes"].is_empty()


def test_a_new_check_looks_at_the_pairs_that_it_has_not_seen(store: Store, pairs: pl.DataFrame) -> None:
    turn = turn_of(store, Served(silent), verifiers=["must_mention:good", "length:max_words=9"])
    frames = verify(turn)
    stored(store, {**frames, "votes": frames["votes"].head(3)})
    assert verify(turn)["votes"].height == 5


def test_a_recipe_without_verifiers_makes_no_votes(store: Store, pairs: pl.DataFrame) -> None:
    turn = turn_of(store, Served(silent))
    assert (verify(turn), rate(turn), weigh(turn), verifier_members(turn)) == ({}, {}, {}, [])
    assert (rating_members(turn), likelihood_members(turn)) == ([], [])


def test_a_check_that_does_not_exist_is_refused(store: Store, pairs: pl.DataFrame) -> None:
    with pytest.raises(RecipeError, match="jsn"):
        verify(turn_of(store, Served(silent), verifiers=["jsn"]))


def test_tags_of_prompts_reach_the_verifier(store: Store, pairs: pl.DataFrame) -> None:
    with store.write("test") as writer:
        prompt = world(1)["prompts"]["prompt_id"][0]
        writer.append({"prompt_tags": PROMPT_TAGS.complete(pl.DataFrame(
            [{"prompt_id": prompt, "key": "answer", "value": "good 0", "tagger": "hand"}]))})
    votes = verify(turn_of(store, Served(silent), verifiers=["exact_answer:answer={{answer}}"]))["votes"]
    assert votes["is_abstention"].sum() == 3  # the prompts without a tag


def test_a_failed_hard_constraint_vetoes_what_would_be_chosen(store: Store, pairs: pl.DataFrame) -> None:
    turn = turn_of(store, Served(silent), verifiers=["must_mention:good!"])
    frames = verify(turn)
    bad = vetoed(turn, frames["votes"])
    assert bad.height == 4
    labels = pairs.select(
        "pair_id", p_a=pl.when("is_a_good").then(0.1).otherwise(0.9), p_tie=pl.lit(0.0), action=pl.lit("keep"),
        reason=pl.lit(""), weight=pl.lit(1.0),
    )
    assert veto(labels, bad).select("action", "reason").unique().rows() == [("drop", "vetoed:must_mention")]
    assert vetoed(turn_of(store, Served(silent), verifiers=["must_mention:good!"]), frames["votes"].clear()).is_empty()


def rates_good_higher(kind: Kind, request: CallRequest) -> str:
    assert (kind, request.choices) == ("judge", ("1", "2", "3", "4", "5", "X"))
    return "5" if "good" in request.messages.split("Response ===")[1].split("===")[0] else "2"


def test_each_attribute_is_rated_and_the_better_rated_response_wins(store: Store, pairs: pl.DataFrame) -> None:
    served = Served(rates_good_higher)
    turn = turn_of(store, served, judges=["m"], rate=["helpfulness", "honesty"])
    frames = rate(turn)
    assert (len(served.asked), frames["ratings"].height) == (16, 16)
    assert frames["ratings"].group_by("attribute").len().sort("attribute").rows() == [
        ("helpfulness", 8), ("honesty", 8)]
    votes = good_side(frames["votes"], pairs)
    assert votes.group_by("criterion").len().sort("criterion").rows() == [
        ("helpfulness", 4), ("honesty", 4), ("overall", 4)]
    assert votes.filter((pl.col("p_a") == 1.0) != pl.col("is_a_good")).is_empty()
    assert set(votes.select("voter", "instrument").iter_rows()) == set(rating_members(turn))
    assert votes["call_key"].null_count() == 0


def test_a_second_run_rates_nothing_again(store: Store, pairs: pl.DataFrame) -> None:
    served = Served(rates_good_higher)
    turn = turn_of(store, served, judges=["m"], rate=["helpfulness"])
    frames = rate(turn)
    stored(store, frames)
    assert rate(turn)["votes"].is_empty()
    assert len(served.asked) == 8


def test_equal_ratings_are_ties_and_no_ratings_are_counted(store: Store, pairs: pl.DataFrame) -> None:
    ties = rate(turn_of(store, Served(lambda kind, request: "3"), judges=["m"], rate=["overall"]))
    assert ties["votes"].select("p_tie", "is_abstention").unique().rows() == [(1.0, False)]


def test_a_judge_that_cannot_rate_is_an_abstention_on_every_pair(store: Store, pairs: pl.DataFrame) -> None:
    frames = rate(turn_of(store, Served(lambda kind, request: "quite good"), judges=["m"], rate=["overall"]))
    assert frames["ratings"].is_empty()
    assert frames["votes"].select("is_abstention", "evidence").unique().rows() == [(True, "no rating of a or b")]
    assert frames["votes"].height == 4


def prompts_of(store: Store) -> pl.DataFrame:
    rows = world(4)
    return rows["prompts"].join(rows["texts"], on="text_id").select("prompt_id", "group_id", prompt="text")


def writes_checklists(kind: Kind, request: CallRequest) -> str:
    assert kind == "generate"
    return '{"items":[{"question":"Is it good?","weight":2}]}' if "question 1" not in request.messages else "No."


def test_a_checklist_is_written_for_each_prompt_and_a_missing_one_is_said_so(store: Store, pairs: pl.DataFrame) -> None:
    served = Served(writes_checklists)
    turn = turn_of(store, served, aid="checklist", aid_model="w")
    prompts = prompts_of(store)
    shown = aids(turn, prompts)
    assert shown.columns == ["prompt_id", "checklist"]
    assert shown["checklist"].str.starts_with("1. (weight 2) Is it good?").sum() == 3
    assert shown["checklist"].str.contains("judge without one").sum() == 1
    assert aids(turn, prompts[::-1]).equals(shown)
    assert len(served.asked) == 4


def rubric_world(kind: Kind, request: CallRequest) -> str:
    """Writes rubrics, and as judge follows them: Response 1 is better when it is good."""
    if kind == "generate":
        return '{"hard_rules":["Be good."],"principles":[]}'
    first = request.messages.split("Response 1 ===")[1].split("===")[0]
    return "A" if "good" in first else "E"


def calibrate(store: Store, pairs: pl.DataFrame) -> None:
    words = {"criterion": "overall", "why": "hand", "source": "hand", "use": "calibrate"}
    gold = pairs.select("pair_id", p_a=pl.col("is_a_good").cast(pl.Float64), p_tie=pl.lit(0.0)).with_columns(
        pl.lit(value).alias(name) for name, value in words.items())
    with store.write("test") as writer:
        writer.append({"gold": GOLD.complete(gold)})


def test_a_rubric_from_gold_is_tried_out_and_shown_to_the_writer_of_other_prompts(
    store: Store, pairs: pl.DataFrame
) -> None:
    calibrate(store, pairs.head(2))
    served = Served(rubric_world)
    turn = turn_of(store, served, aid="rubric", aid_model="w")
    shown = aids(turn, prompts_of(store))
    assert shown["rubric"].to_list() == ["Hard rules:\n1. Be good."] * 4
    told = [r.messages for kind, r in served.asked if r.instrument == "write-rubric@1"]
    assert sum("Rubric of another conversation" in messages for messages in told) == 4
    assert sum(r.instrument == FROM_PAIR.question for _, r in served.asked) == 2
    assert sum(kind == "judge" for kind, _ in served.asked) == 4


def test_a_rubric_that_leads_to_the_wrong_side_is_kept_but_not_accepted(store: Store, pairs: pl.DataFrame) -> None:
    calibrate(store, pairs.head(1))

    def misled(kind: Kind, request: CallRequest) -> str:
        return rubric_world(kind, request) if kind == "generate" else "A"

    served = Served(misled)
    aids(turn_of(store, served, aid="rubric", aid_model="w"), prompts_of(store))
    told = [r.messages for _, r in served.asked if r.instrument == "write-rubric@1"]
    assert not any("Rubric of another conversation" in messages for messages in told)
    with store.write("test") as writer:
        rows = writer._rows("select is_accepted, reason, pair_id is not null as of_pair from rubrics", {}, {})
    refused = rows.filter("of_pair").row(0, named=True)
    assert (refused["is_accepted"], "does not prefer" in refused["reason"]) == (False, True)


def test_without_a_meta_judge_no_verdict_is_reviewed(store: Store, pairs: pl.DataFrame) -> None:
    said = votes_by_hand(pairs, "j", 0.9, shown_first="a", rationale="because")
    assert reviewed(turn_of(store, Served(silent)), said, pairs).equals(said)


def test_the_meta_judge_reviews_each_reasoned_verdict(store: Store, pairs: pl.DataFrame) -> None:
    said = votes_by_hand(pairs, "j", 0.9, shown_first="a", rationale="because")
    served = Served(lambda kind, request: "N" if "question 1" in request.messages else "Y")
    after = reviewed(turn_of(store, served, meta_judge="m"), said, pairs)
    assert after.filter("is_abstention")["evidence"].to_list() == ["refuted by served/m@1 (p = 1.0)"]
    assert (after.height, len(served.asked)) == (4, 4)


def likes_good(kind: Kind, request: CallRequest) -> str:
    """The strong model finds good responses likelier and expects thanks for them."""
    assert kind == "likelihood"
    last, is_good = json.loads(request.messages)[-1]["content"], "good" in request.messages
    is_thanked = any(word in last for word in ("Thank", "thanks", "Great", "Perfect"))
    if last.startswith(("good", "bad")):
        return "-2" if is_good and request.voter == "m" else "-5"
    return "-3" if is_thanked == is_good else "-9"


@pytest.mark.parametrize(("judging", "n_calls"), [
    ({"density_ratio": ["m", "w"]}, 16), ({"follow_up": "other"}, 64),
])
def test_training_free_voters_prefer_what_their_models_prefer(
    store: Store, pairs: pl.DataFrame, judging: dict[str, object], n_calls: int
) -> None:
    served = Served(likes_good)
    turn = turn_of(store, served, **judging)
    frames = weigh(turn)
    votes = good_side(frames["votes"], pairs)
    assert (votes.height, len(served.asked), frames["scores"].height) == (4, n_calls, 8)
    assert votes.filter((pl.col("p_a") > 0.5) != pl.col("is_a_good")).is_empty()
    assert set(votes.select("voter", "instrument").iter_rows()) == set(likelihood_members(turn))
    assert frames["voters"]["kind"].to_list() == ["reward_model"]
    assert frames["voters"]["family"].item() in ("base-of-m", "base-of-other")
    stored(store, frames)
    assert weigh(turn)["votes"].is_empty()
    assert len(served.asked) == n_calls
