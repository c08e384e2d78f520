"""Reading what people submitted: every state once, one vote per person and pair, nothing guessed at, nothing lost."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from curate.annotating.pseudonyms import pseudonym
from curate.annotating.reading import AGAIN, Read, Rules, changes
from curate.engines import Changes, Page
from schemas.errors import InputError
from schemas.ids import content_id
from schemas.tables import PULLED, SUBMISSIONS, VOTES

NOON = dt.datetime(2026, 1, 2, 12, tzinfo=dt.UTC)
KEY = b"a key of sixteen bytes or more"
SYSTEM = "label_studio/here"
RULES = Rules(SYSTEM, KEY, NOON, "overall", "guideline@1", 0.25)
PAGE = Page("d", "all", "", overlap=2)
RATED = Page("d", "all", "", attributes=("clarity",), overlap=1)


def item(name: str, kind: str, **value: Any) -> dict[str, Any]:
    return {"id": "r4nd0m", "from_name": name, "to_name": "pair", "type": kind, "value": value}


def choice(*aliases: str, **marks: str) -> dict[str, Any]:
    return {**item("verdict", "choices", choices=list(aliases)), **marks}


def tasks(n: int = 3, **columns: object) -> pl.DataFrame:
    """Tasks t0, t1, … on pairs p0, p1, …; a is shown first on even ones."""
    return pl.DataFrame([
        {"task_key": content_id(f"t{i}"), "pair_id": content_id(f"p{i}"), "shown_first": "ab"[i % 2], "round_id": "r",
         "is_prefilled": False, "external_id": str(i), "purpose": "vote", "response_a": f"a{i}",
         "response_b": f"b{i}", **columns}
        for i in range(n)
    ])


def row(number: int, task: int = 0, *said: dict[str, Any], user: str | None = "7", at: int = 0,
        **columns: object) -> dict[str, Any]:
    """One submission as a platform gives it, said `at` minutes past noon."""
    return {
        "submission": f"{SYSTEM}/1/{number}", "external_id": str(task), "task_key": content_id(f"t{task}"),
        "user": user, "result": json.dumps(said), "is_skipped": False, "is_deleted": False,
        "is_from_prediction": False, "seconds": 30.0, "said_at": NOON + dt.timedelta(minutes=at), **columns,
    }


def nothing_on(task: int) -> dict[str, Any]:
    """What a platform gives for a task that holds no submission."""
    return {**row(0, task), "submission": f"{SYSTEM}/1/task-{task}", "user": None, "result": None, "seconds": None,
            "said_at": None, "is_deleted": True}


def pulled(*rows: dict[str, Any]) -> Changes:
    return Changes(PULLED.complete(pl.DataFrame(list(rows), schema=PULLED.schema)), NOON)


def newest(*reads: Read) -> pl.DataFrame:
    """How every submission stands after these readings."""
    states = pl.concat([SUBMISSIONS.empty(), *(read.submissions for read in reads)])
    return states.sort("submission", "n").unique("submission", keep="last", maintain_order=True)


def current(*reads: Read) -> pl.DataFrame:
    """Votes that count: cast, and superseded by none."""
    votes = pl.concat([VOTES.empty(), *(read.votes for read in reads)])
    assert votes["vote_id"].is_unique().all()
    superseded = votes["supersedes"].drop_nulls()
    assert superseded.is_unique().all()
    return votes.filter(pl.col("status") == "cast", ~pl.col("vote_id").is_in(superseded.implode())).sort("vote_id")


def in_turn(*pulls: Sequence[dict[str, Any]], page: Page = PAGE, ours: pl.DataFrame | None = None) -> list[Read]:
    """Readings one after the other, each knowing what those before it read."""
    reads: list[Read] = []
    for rows in pulls:
        reads.append(changes(pulled(*rows), newest(*reads), tasks() if ours is None else ours, page, RULES))
    return reads


def only(*rows: dict[str, Any], page: Page = PAGE, ours: pl.DataFrame | None = None) -> Read:
    return in_turn(rows, page=page, ours=ours)[0]


@pytest.mark.slow
@pytest.mark.parametrize(("alias", "strength", "p_a", "p_tie"), [
    ("3", 3.0, 1.0, 0.0), ("1", 1.0, 1.0, 0.0), ("0", 0.0, 0.0, 1.0), ("-2", -2.0, 0.0, 0.0),
])
def test_a_choice_is_a_vote_whose_strength_points_towards_a(
    alias: str, strength: float, p_a: float, p_tie: float
) -> None:
    [vote] = only(row(1, 0, choice(alias))).votes.to_dicts()
    assert (vote["strength"], vote["p_a"], vote["p_tie"]) == (strength, p_a, p_tie)
    mirrored = "0" if alias == "0" else str(-int(alias))
    [other] = only(row(1, 1, choice(mirrored))).votes.to_dicts()
    assert (other["strength"], other["p_a"], other["p_tie"]) == (strength, p_a, p_tie)


def test_a_vote_holds_who_said_it_when_why_and_under_which_guideline() -> None:
    read = only(row(1, 1, choice("3"), item("why", "textarea", text=["shorter,", "and right"]), at=5))
    [vote] = read.votes.to_dicts()
    ann = pseudonym("7", SYSTEM, KEY)
    expected = {
        "pair_id": content_id("p1"), "voter": ann, "shown_first": "b", "criterion": "overall",
        "instrument": "guideline@1", "rationale": "shorter,\nand right", "external_ref": f"{SYSTEM}/1/1",
        "cost_usd": 0.25, "seconds": 30.0, "round_id": "r", "voted_at": NOON + dt.timedelta(minutes=5), "n": 1,
        "status": "cast", "supersedes": None, "is_abstention": False,
    }
    assert {name: vote[name] for name in expected} == expected
    assert read.voters.select("voter", "kind").row(0) == (ann, "human")
    [state] = read.submissions.to_dicts()
    assert (state["n"], state["outcome"], state["vote_id"]) == (0, "voted", vote["vote_id"])


def test_who_cannot_judge_abstains_and_who_skips_says_nothing() -> None:
    read = only(row(1, 0, choice("cannot_judge")), row(2, 0, user="8", is_skipped=True))
    assert read.votes.select("is_abstention", "p_a", "strength").rows() == [(True, None, None)]
    assert read.submissions["outcome"].to_list() == ["cannot_judge", "skipped"]
    assert read.rejects.height == 0


@pytest.mark.slow
def test_two_annotators_of_one_task_are_two_votes_and_end_it() -> None:
    first, both = in_turn([row(1, 0, choice("2"))],
                          [row(1, 0, choice("2")), row(2, 0, choice("-1"), user="8", at=1)])
    assert first.answers.height == 0
    assert both.votes.height == 1
    assert current(first, both)["strength"].sort().to_list() == [-1.0, 2.0]
    assert both.answers.select("outcome", "vote_id").rows() == [("voted", first.votes["vote_id"][0])]


@pytest.mark.slow
def test_a_task_that_everyone_skipped_ends_as_skipped() -> None:
    skips = [row(1, 0, is_skipped=True), row(2, 0, user="8", is_skipped=True)]
    assert only(*skips).answers.select("outcome", "vote_id").rows() == [("skipped", None)]
    assert only(skips[0]).answers.height == 0


@pytest.mark.slow
def test_an_edit_supersedes_and_a_deletion_takes_back() -> None:
    said, edited, gone = in_turn([row(1, 0, choice("2"))], [row(1, 0, choice("-3"), at=1)], [nothing_on(0)])
    assert edited.votes["supersedes"].to_list() == said.votes["vote_id"].to_list()
    assert edited.votes["ballot_id"][0] != said.votes["ballot_id"][0]
    assert gone.votes.select("status", "supersedes").rows() == [("retracted", edited.votes["vote_id"][0])]
    assert newest(said, edited, gone).select("n", "outcome", "vote_id").rows() == [(2, "deleted", None)]
    assert current(said, edited)["strength"].to_list() == [-3.0]
    assert current(said, edited, gone).height == 0


@pytest.mark.slow
def test_a_vote_that_becomes_a_skip_or_nonsense_is_taken_back_and_can_come_again() -> None:
    reads = in_turn([row(1, 0, choice("2"))], [row(1, 0, choice("2"), is_skipped=True)], [row(1, 0)],
                    [row(1, 0, choice("1"))])
    assert [read.submissions["outcome"].item() for read in reads] == ["voted", "skipped", "refused", "voted"]
    assert current(*reads[:2]).height == 0
    assert current(*reads)["strength"].to_list() == [1.0]


@pytest.mark.slow
def test_only_the_missing_submission_of_a_task_is_deleted() -> None:
    both = [row(1, 0, choice("2")), row(2, 0, choice("1"), user="8")]
    reads = in_turn([*both, row(3, 1, choice("1"))], [both[1]])
    assert reads[1].submissions.select("submission", "outcome").rows() == [(f"{SYSTEM}/1/1", "deleted")]
    assert current(*reads).height == 2


@pytest.mark.slow
def test_the_same_said_again_is_no_new_row() -> None:
    said = row(1, 0, choice("2"), item("why", "textarea", text=["so"]))
    again = row(1, 0, {**item("why", "textarea", text=["so"]), "id": "other"}, choice("2"), at=9, seconds=99.0)
    read = in_turn([said, nothing_on(1)], [again, nothing_on(1)])[1]
    assert all(frame.height == 0 for frame in (read.submissions, read.votes, read.rejects, read.answers))


@pytest.mark.slow
@pytest.mark.parametrize(("said", "seen"), [
    ([], "an empty result"),
    ([item("why", "textarea", text=["so"])], "no verdict"),
    ([choice("4")], '["4"]'),
    ([choice()], "choices []"),
    ([choice("1", "2")], '["1", "2"]'),
    ([choice("1"), choice("2")], "answered twice"),
    ([item("verdict", "choices")], "choices null"),
    ([{**choice("1"), "type": "taxonomy"}], "verdict of type taxonomy"),
    ([choice("1"), item("sentiment", "choices", choices=["good"])], "sentiment of type choices"),
    ([choice("1"), item("why", "textarea", text=[3])], "[3]"),
    ([{"type": "relation"}], "relation"),
])
def test_what_does_not_keep_to_the_page_is_refused_with_what_was_seen(said: list[dict[str, Any]], seen: str) -> None:
    read = only(row(1, 0, *said))
    assert read.votes.height == 0
    [reject] = read.rejects.to_dicts()
    assert seen in reject["seen"]
    assert reject["expected"]
    [state] = read.submissions.to_dicts()
    assert (state["outcome"], state["vote_id"]) == ("refused", None)
    assert seen in state["reason"]


@pytest.mark.slow
@pytest.mark.parametrize("result", ["not json", "{}", "[1]", "null", '"x"', '[{"from_name": "verdict"}]'])
def test_a_result_that_is_no_list_of_answers_is_refused(result: str) -> None:
    assert only(row(1, result=result)).rejects.height == 1


@pytest.mark.slow
@pytest.mark.parametrize("value", [0, 6, 2.5, True, "3", None])
def test_a_rating_off_its_scale_refuses_the_submission(value: object) -> None:
    read = only(row(1, 0, choice("1"), item("rate_first_clarity", "rating", rating=value)), page=RATED)
    assert (read.votes.height, read.ratings.height, read.rejects.height) == (0, 0, 1)


def test_ratings_go_to_the_response_that_stood_there() -> None:
    read = only(row(1, 1, choice("1"), item("rate_first_clarity", "rating", rating=5),
                    item("rate_second_clarity", "rating", rating=2)), page=RATED)
    assert read.ratings.select("response_id", "attribute", "value").sort("value").rows() == [
        ("a1", "clarity", 2.0), ("b1", "clarity", 5.0)]
    assert read.ratings["ballot_id"].to_list() == read.votes["ballot_id"].to_list() * 2


@pytest.mark.parametrize("named", [None, "no key of ours", content_id("t99")])
def test_a_foreign_task_is_counted_and_never_a_vote(named: str | None) -> None:
    read = only(row(1, 0, choice("1"), task_key=named))
    assert read.votes.height == 0
    assert read.submissions.select("outcome", "task_key", "pair_id").rows() == [("refused", None, None)]
    assert "not ours" in read.rejects["seen"][0]


@pytest.mark.slow
def test_a_submission_counts_as_soon_as_its_task_is_known() -> None:
    first = changes(pulled(row(1, 0, choice("1"))), SUBMISSIONS.empty(), tasks()[1:],
                    PAGE, RULES)
    then = changes(pulled(row(1, 0, choice("1"))), newest(first), tasks(), PAGE, RULES)
    assert (first.votes.height, then.votes.height, then.submissions["n"][0]) == (0, 1, 1)


@pytest.mark.slow
def test_what_was_read_under_an_earlier_page_stays_as_it_was_read() -> None:
    said = row(1, 0, choice("1"), item("rate_first_clarity", "rating", rating=5))
    first = only(said, page=RATED)
    again = changes(pulled(said), newest(first), tasks(), PAGE, RULES)
    without = changes(pulled(said), newest(first), tasks()[1:], PAGE, RULES)
    assert again.submissions.height == without.submissions.height == 0


@pytest.mark.slow
def test_the_same_person_twice_on_one_pair_counts_once_the_later_and_is_counted() -> None:
    ours = tasks().with_columns(pair_id=pl.lit(content_id("p0")))
    early, late = row(1, 0, choice("3"), at=1), row(2, 2, choice("-1"), at=2)
    one = only(early, late, ours=ours)
    assert one.votes["strength"].to_list() == [-1.0]
    assert one.submissions["reason"].to_list() == [AGAIN, None]
    assert one.rejects["seen"].to_list() == [AGAIN]
    reads = in_turn([early], [late], ours=ours)
    assert reads[1].votes["supersedes"].to_list() == reads[0].votes["vote_id"].to_list()
    assert current(*reads)["strength"].to_list() == [-1.0]
    late_first = in_turn([late], [early], [early, late], ours=ours)
    assert current(*late_first)["strength"].to_list() == [-1.0]
    assert late_first[2].submissions.height == 0


@pytest.mark.slow
def test_the_earlier_answer_counts_again_when_the_later_one_is_deleted_and_it_is_read_again() -> None:
    ours = tasks().with_columns(pair_id=pl.lit(content_id("p0")))
    early, late = row(1, 0, choice("3"), at=1), row(2, 2, choice("-1"), at=2)
    reads = in_turn([early, late], [nothing_on(2)], [early, nothing_on(2)], ours=ours)
    assert [current(*reads[:k])["strength"].to_list() for k in (1, 2, 3)] == [[-1.0], [], [3.0]]


@pytest.mark.slow
@pytest.mark.parametrize(("origin", "is_taken_over"), [("prediction", True), ("prediction-changed", False)])
def test_what_was_pre_filled_and_came_back_unchanged_is_taken_over(origin: str, is_taken_over: bool) -> None:
    said = row(1, 0, choice("1", origin=origin), is_from_prediction=True)
    state = only(said, ours=tasks(is_prefilled=True)).submissions
    assert state.select("is_prefilled", "is_taken_over").rows() == [(True, is_taken_over)]
    assert only(said).submissions.select("is_prefilled", "is_taken_over").rows() == [(False, None)]


@pytest.mark.slow
def test_a_submission_named_as_deleted_takes_its_vote_with_it() -> None:
    reads = in_turn([row(1, 0, choice("1")), row(2, 1, choice("1"))], [row(1, 0, is_deleted=True, result=None)])
    assert current(*reads)["pair_id"].to_list() == [content_id("p1")]
    assert reads[1].submissions.select("outcome", "pair_id", "said_at").rows() == [("deleted", content_id("p0"), NOON)]


def test_the_key_is_not_shown_and_missing_columns_are_named() -> None:
    assert KEY.decode() not in repr(RULES)
    with pytest.raises(InputError, match="response_a"):
        changes(pulled(), SUBMISSIONS.empty(), tasks().drop("response_a"), RATED, RULES)


EVENTS = st.tuples(
    st.integers(0, 5),  # place and person: tasks 0 and 1, users 7 and 8, and user 7 a second time
    st.sampled_from(["3", "0", "-2", "cannot_judge", "nonsense", "skip", "delete"]),
)


def pulls_of(events: Sequence[tuple[int, str]], cuts: Iterable[int]) -> list[list[dict[str, Any]]]:
    """What a platform gives between cuts: all that is there of each task touched since."""
    there: dict[int, dict[str, Any]] = {}
    touched: set[int] = set()
    pulls: list[list[dict[str, Any]]] = []
    for at, (who, what) in enumerate([*events, (-1, "")]):
        if at in cuts or who < 0:
            live = [r for _, r in sorted(there.items()) if int(r["external_id"]) in touched]
            held = {int(r["external_id"]) for r in live}
            pulls.append([*live, *(nothing_on(task) for task in sorted(touched - held))])
            touched = set()
        if who < 0:
            break
        touched.add(who % 2)
        if what == "delete":
            there.pop(who, None)
        else:
            said = [] if what == "skip" else [choice(what)]
            there[who] = row(who, who % 2, *said, user=str(7 + who // 2 % 2), at=at, is_skipped=what == "skip")
    return pulls


@pytest.mark.service
@hypothesis_settings(max_examples=20, deadline=None)
@given(st.lists(EVENTS, max_size=12), st.sets(st.integers(0, 11)), st.randoms(use_true_random=False))
def test_however_changes_are_cut_and_shuffled_the_current_votes_are_the_same(
    events: list[tuple[int, str]], cuts: set[int], chance: Any
) -> None:
    whole, parts = in_turn(*pulls_of(events, ())), pulls_of(events, cuts)
    for rows in parts:
        chance.shuffle(rows)
    in_parts = in_turn(*parts)
    said = ["pair_id", "voter", "strength", "p_a", "p_tie", "is_abstention", "external_ref"]
    assert current(*whole).select(said).sort(said).equals(current(*in_parts).select(said).sort(said))
    again = in_turn(*parts, parts[-1])[-1]
    assert again.submissions.height == 0
    states = pl.concat([read.submissions for read in in_parts])
    assert states.group_by("submission").agg(ok=pl.col("n").sort() == pl.int_range(pl.len()))["ok"].list.all().all()


@pytest.mark.slow
def test_equal_rows_in_any_order_give_equal_rows() -> None:
    rows = [row(i, i % 3, choice(str(i % 3)), item("rate_first_clarity", "rating", rating=4), user=str(i), at=i)
            for i in range(6)]
    one, other = only(*rows, page=RATED), only(*reversed(rows), page=RATED, ours=tasks().reverse())
    for name in ("submissions", "votes", "ratings", "rejects", "answers", "voters"):
        assert getattr(one, name).equals(getattr(other, name)), name
