"""`tiebreak annotators`: cards, pay and pages out of what a warehouse holds of people's work."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import polars as pl
import pytest
from small_rows import NOW, votes, world

from curate.annotating.profiles import PROFILES
from flows.annotators import CARD, agreement_report, annotators, answers_of, asked_again, feedback, pay_report
from schemas.errors import RefusedError
from schemas.ids import content_id
from schemas.people import Quality
from schemas.tables import GOLD, ROUNDS, ROUTES, SUBMISSIONS, TASKS, VOTERS
from warehouse.reader import Reader
from warehouse.store import Store

ROUND = content_id("round")
PAIRS = world(4)["pairs"]["pair_id"].to_list()


def submission(name: str, pair: str, outcome: str, n: int = 0, **columns: object) -> dict[str, object]:
    return {"submission": name, "n": n, "revision": content_id(name, n), "task_key": content_id("task", pair),
            "pair_id": pair, "voter": "ann", "outcome": outcome, "is_prefilled": False, "said_at": NOW,
            "pulled_at": NOW, "seconds": 36.0, **columns}


def filled() -> dict[str, pl.DataFrame]:
    """Ann on four pairs: right on gold and taken over, an edit, a skip, a deletion; ben once, in no round; a judge."""
    frames, rest = world(4), [(p, pl.DataFrame({"pair_id": [p]})) for p in PAIRS]
    (gold, g), (edited, e), (skipped, _), (deleted, d) = rest
    mine = {"shown_first": "a", "round_id": ROUND, "cost_usd": 0.5, "voted_at": NOW}
    first, again = votes(e, "ann", 1.0, **mine), votes(e, "ann", 0.0, **mine)
    again = again.with_columns(vote_id=pl.lit(content_id("edit")), supersedes=pl.lit(first["vote_id"].item()))
    right, taken_back = votes(g, "ann", 1.0, **mine), votes(d, "ann", 1.0, **mine)
    undone = taken_back.with_columns(vote_id=pl.lit(content_id("undone")), status=pl.lit("retracted"),
                                     supersedes=pl.lit(taken_back["vote_id"].item()))
    submitted = [
        submission("s1", gold, "voted", is_prefilled=True, is_taken_over=True, vote_id=right["vote_id"].item()),
        submission("s2", edited, "voted", vote_id=first["vote_id"].item(), seconds=10.0),
        submission("s2", edited, "voted", n=1, vote_id=again["vote_id"].item(), seconds=72.0),
        submission("s3", skipped, "skipped"), submission("s4", deleted, "voted", vote_id=taken_back["vote_id"].item()),
        submission("s4", deleted, "deleted", n=1, vote_id=taken_back["vote_id"].item()),
        submission("s5", "", "refused", pair_id=None, task_key=None, reason="a foreign task"),
    ]
    return {
        **frames, "votes": pl.concat([first, again, right, taken_back, undone, votes(g, "ben", 0.0, shown_first="b"),
                                      votes(g, "judge", 1.0)]),
        "voters": pl.concat([frames["voters"], VOTERS.complete(pl.DataFrame([
            {"voter": "ben", "kind": "human", "family": "ben", "cost_usd": 0.0}]))]),
        "submissions": SUBMISSIONS.complete(pl.DataFrame(submitted, infer_schema_length=None)),
        "tasks": TASKS.complete(pl.DataFrame([task(p, "gold" if p == gold else None) for p in PAIRS])),
        "routes": ROUTES.complete(pl.DataFrame([route(p) for p in PAIRS])),
        "rounds": ROUNDS.complete(pl.DataFrame([{
            "round_id": ROUND, "dataset": "small", "n": 3, "recipe_fingerprint": content_id("r"), "recipe": "{}",
            "as_of": 0, "budget_votes": 4, "opened_at": NOW}])),
        "gold": GOLD.complete(pl.DataFrame([
            {"pair_id": gold, "criterion": "overall", "p_a": 1.0, "p_tie": 0.0, "why": "<b>known</b>", "source": "hand",
             "use": "attention"}])),
    }


def task(pair: str, purpose: str | None) -> dict[str, object]:
    return {"task_key": content_id("task", pair), "pair_id": pair, "route_id": content_id("route", pair),
            "round_id": ROUND, "queue": "all", "shown_first": "a", "is_prefilled": False, "system": "s",
            "sent_at": NOW, "purpose": purpose}


def route(pair: str) -> dict[str, object]:
    return {"route_id": content_id("route", pair), "pair_id": pair, "round_id": ROUND, "to": "human", "ordinal": 0,
            "expected_gain": 0.1, "cost_usd": 0.5, "propensity": 1.0, "is_audit": False, "reason": "value",
            "features": '{"p_a": 0.7, "p_tie": 0.1}' if pair != PAIRS[3] else "not JSON"}


@pytest.fixture
def root(store: Store) -> Path:
    with store.write("test") as writer:
        writer.append(filled())
        writer.publish()
    return store.workspace.root


@pytest.mark.service
def test_answers_are_what_stands_of_each_person_with_task_gold_and_label_before(root: Path, store: Store) -> None:
    with Reader(root) as reader, store.write("test") as writer:
        rows = answers_of(reader)
        assert rows.equals(answers_of(writer))
    told = rows.select("voter", "pair_id", "outcome", "p_a", "seconds", "purpose", "round", "before_p_a", "gold_p_a",
                       "is_taken_over").sort("voter", pl.col("pair_id").replace_strict(PAIRS, range(4)))
    assert told.drop("pair_id").rows() == [
        ("ann", "voted", 1.0, 36.0, "gold", 3, 0.7, 1.0, True), ("ann", "voted", 0.0, 72.0, "vote", 3, 0.7, None, None),
        ("ann", "skipped", None, 36.0, "vote", 3, 0.7, None, None),
        ("ann", "deleted", None, 36.0, "vote", 3, None, None, None),
        ("ben", "voted", 0.0, None, "vote", None, None, 1.0, None)]


@pytest.mark.service
def test_cards_keep_their_columns_and_add_to_them(root: Path) -> None:
    cards = annotators(root)
    assert cards.columns[:4] == ["voter", "family", "n_votes", "n_abstentions"]
    assert cards.columns[-len(CARD) - 1:] == [*CARD, "found"]
    told = cards.select("voter", "n_votes", "n_gold", "gold_accuracy", "hours", "cost_usd", "found")
    assert told.rows() == [("ann", 2, 1, None, 0.05, 1.0, None), ("ben", 1, 1, None, 0.0, 0.0, None)]
    whole = annotators(root, is_whole=True)
    assert set(whole.columns) == {*cards.columns, *PROFILES}
    assert whole.select(cards.columns).equals(cards)


@pytest.mark.service
def test_pay_is_told_per_annotator_and_round(root: Path) -> None:
    told = pay_report(root).drop("n_timed", "seconds_median")
    assert told.columns == ["voter", "dataset", "round", "n_votes", "n_others", "hours", "cost_usd", "usd_per_hour"]
    assert told.rows() == [("ann", "small", 3, 2, 2, 0.05, 1.0, 20.0), ("ben", None, None, 1, 0, 0.0, 0.0, None)]


@pytest.mark.service
def test_each_annotator_has_a_page_with_the_gold_that_was_missed(root: Path, tmp_path: Path) -> None:
    written = feedback(root, tmp_path / "pages")
    pages = {row["annotator"]: Path(str(row["page"])).read_text() for row in written}
    assert set(pages) == {"ann", "ben"}
    assert "&lt;b&gt;known&lt;/b&gt;" in pages["ben"]
    assert "&lt;b&gt;" not in pages["ann"]
    assert {p.read_text() for p in (tmp_path / "pages").iterdir()} == set(pages.values())
    assert feedback(root, tmp_path / "pages") == written


@pytest.mark.slow
def test_without_an_answer_there_is_no_page_and_no_card(migrated: Path, tmp_path: Path) -> None:
    assert annotators(migrated).height == 0
    assert pay_report(migrated).height == 0
    with pytest.raises(RefusedError, match="tiebreak collect"):
        feedback(migrated, tmp_path / "pages")


@pytest.mark.service
def test_the_view_annotator_summary_has_one_row_per_annotator(root: Path) -> None:
    with Reader(root) as reader:
        rows = reader.sql("FROM annotator_summary")
    assert rows.to_dicts() == [
        {"voter": "ann", "n_votes": 2, "n_abstentions": 0, "n_ties": 0, "n_skipped": 1, "n_deleted": 1, "n_gold": 1,
         "gold_accuracy": 1.0, "first_share": 0.5, "n_prefilled": 1, "taken_over_share": 1.0, "seconds_median": 54.0,
         "hours": 0.05, "cost_usd": 1.0},
        {"voter": "ben", "n_votes": 1, "n_abstentions": 0, "n_ties": 0, "n_skipped": 0, "n_deleted": 0, "n_gold": 1,
         "gold_accuracy": 0.0, "first_share": 1.0, "n_prefilled": 0, "taken_over_share": None, "seconds_median": None,
         "hours": 0.0, "cost_usd": 0.0}]


@pytest.mark.service
def test_the_recipe_says_what_is_too_fast_and_who_fails(store: Store) -> None:
    frames = world(12)
    late = NOW + dt.timedelta(seconds=1)
    truth = frames["pairs"].select("pair_id", p_a=pl.lit(0.0), p_tie=pl.lit(0.0)).with_columns(
        criterion=pl.lit("overall"), why=pl.lit(""), source=pl.lit("hand"), use=pl.lit("attention"))
    with store.write("test") as writer:
        writer.append({**frames, "gold": GOLD.complete(truth),
                       "votes": votes(frames["pairs"], "ann", 1.0, seconds=2.0, voted_at=late)})
        writer.publish()
    store.workspace.recipe.write_text(
        'dataset = "d"\n[people.quality]\nmin_seconds = 5.0\nmin_gold_accuracy = 0.6\n')
    card = annotators(store.workspace.root).row(0, named=True)
    assert (card["fast_share"], card["gold_accuracy"]) == (1.0, 0.0)
    assert card["found"] == "fails_gold, against_others, too_fast"


@pytest.mark.service
def test_agreement_of_people_is_told_where_two_have_voted_and_why_not_where_not(store: Store) -> None:
    frames = filled()
    pairs, mine = frames["pairs"], {"round_id": ROUND}
    ben = [votes(pairs.filter(pl.col("pair_id") == p), "ben", 1.0 if p == PAIRS[0] else 0.0, **mine) for p in PAIRS]
    imported = votes(pairs.head(1), "ben", 1.0, criterion="tone")
    with store.write("test") as writer:
        writer.append({**frames, "votes": pl.concat([frames["votes"], *ben, imported])})
        writer.publish()
    (small, rest, tone) = agreement_report(store.workspace.root)
    assert (small["dataset"], small["n_votes"], small["n_pairs"], small["alpha"]) == ("small", 4, 2, 1.0)
    assert "descriptive" in str(small["note"])
    assert (rest["dataset"], rest["criterion"], tone["criterion"]) == (None, "overall", "tone")
    assert tone["alpha"] is None
    assert "second votes" in str(tone["note"])


@pytest.mark.service
def test_what_is_asked_again_has_no_sound_vote_and_no_open_task(store: Store, root: Path) -> None:
    rule = Quality(min_seconds=73.0)
    with Reader(root) as reader:
        found = asked_again(reader, rule).select("pair_id", "reason", "to", "voters").rows()
        assert asked_again(reader, Quality()).select("pair_id", "reason").rows() == [(PAIRS[3], "retracted")]
    reasons = {PAIRS[1]: "too_fast", PAIRS[3]: "retracted"}
    assert found == sorted((pair, reason, "person", ["ann"]) for pair, reason in reasons.items())
    again = TASKS.complete(pl.DataFrame([{**task(PAIRS[1], None), "task_key": content_id("again")}]))
    with store.write("test") as writer:
        writer.append({"tasks": again})
        assert asked_again(writer, rule)["pair_id"].to_list() == [PAIRS[3]]
