"""Pairs with annotations, with counts, with a label."""

from collections.abc import Callable
from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.importing.convert import convert
from curate.importing.raw import ROW, Ingested, RawSource
from schemas.errors import InputError
from schemas.ids import content_id, text_id
from schemas.tables import TABLES

Rows = list[dict[str, object]]

PAIRS: Rows = [
    {"pair_id": "p0", "prompt": "Which?", "response_a": "left text", "response_b": "right text"},
    {"pair_id": "p1", "prompt": "Why?", "response_a": "because", "response_b": "no reason"},
]


def vote(pair: str, annotator: str, choice: str, **more: object) -> dict[str, object]:
    return {"pair_id": pair, "annotator": annotator, "annotator_kind": "human", "vote": choice, **more}


def source(name: str = "set", **files: Rows) -> RawSource:
    frames = {f"{f}.jsonl": pl.DataFrame(rows, infer_schema_length=None) for f, rows in files.items()}
    return RawSource(name, {f: frame.with_row_index("_row", offset=1) for f, frame in frames.items()})


def chosen_text(ingested: Ingested) -> list[str]:
    """Text preferred by each vote, in the order of pair ids."""
    f = ingested.frames
    winner = pl.when(pl.col("p_a") == 1).then("response_a").when(pl.col("p_a") == 0).then("response_b")
    rows = f["votes"].join(f["pairs"], on="pair_id").with_columns(winner.alias("response_id"))
    texts = rows.join(f["responses"], on="response_id").join(f["texts"], on="text_id")
    return texts.sort("pair_id", "vote_id")["text"].to_list()


def test_ids_are_the_documented_hashes() -> None:
    f = convert(source(pairs=PAIRS[:1], annotations=[vote("p0", "ann", "a")])).frames
    prompt = '[{"role":"user","content":"Which?"}]'
    prompt_id = content_id(prompt, None)
    left, right = (content_id(prompt_id, text, "") for text in ("left text", "right text"))
    pair_id = content_id(min(left, right), max(left, right))
    shown = None
    assert f["prompts"].select("prompt_id", "text_id").row(0) == (prompt_id, text_id(prompt))
    assert f["pairs"].select("pair_id", "response_a", "response_b").row(0) == (
        pair_id, min(left, right), max(left, right))  # fmt: skip
    vote_id = content_id("set", "0||p0", pair_id, "set/ann", "overall", None, shown)
    assert f["votes"].select("vote_id", "ballot_id", "p_a").row(0) == (
        vote_id, content_id("set", "0||p0", pair_id, "set/ann", "overall"), float(left < right))  # fmt: skip


def test_a_vote_is_about_our_a_whatever_side_it_stood_on() -> None:
    votes = [vote("p0", "x", "a"), vote("p1", "x", "b")]
    assert sorted(chosen_text(convert(source(pairs=PAIRS, annotations=votes)))) == ["left text", "no reason"]


def test_ties_are_ties_and_invalid_votes_are_abstentions() -> None:
    votes = [vote("p0", "x", "tie"), vote("p0", "y", "invalid")]
    frame = convert(source(pairs=PAIRS, annotations=votes)).frames["votes"].sort("voter")
    assert frame.select("p_a", "p_tie", "is_abstention").rows() == [(0.0, 1.0, False), (None, None, True)]


SIDES = {"a": "b", "b": "a", "tie": "tie", "invalid": "invalid"}
MIRROR = {"response_a": "response_b", "model_a": "model_b", "acceptable_a": "acceptable_b"}


def mirrored(row: dict[str, object]) -> dict[str, object]:
    swaps = MIRROR | {b: a for a, b in MIRROR.items()}
    turned: dict[str, object] = {swaps.get(k, k): v for k, v in row.items()}
    for column in ("vote", "shown_first", "label"):
        if column in turned:
            turned[column] = SIDES.get(str(turned[column]))
    return turned


def check_mirrored(
    pairs: list[tuple[str, str, str, str]], votes: list[tuple[int, str, str, str | None, int]]
) -> None:
    left: Rows = [
        {"pair_id": f"p{i}", "prompt": "q", "response_a": a, "response_b": b, "model_a": m, "model_b": n}
        for i, (a, b, m, n) in enumerate(pairs)
    ]
    said: Rows = [
        vote(f"p{i % len(pairs)}", who, choice, shown_first=first, strength=s, acceptable_a="yes", acceptable_b="no")
        for i, who, choice, first, s in votes
    ]
    one = convert(source(pairs=left, annotations=said)).frames
    other = convert(source(pairs=[mirrored(r) for r in left], annotations=[mirrored(r) for r in said])).frames
    # one response against itself: nothing tells which of the two was acceptable
    ambiguous = {"ratings"} if any(a == b and m == n for a, b, m, n in pairs) else set()
    for name in set(one) - ambiguous:
        assert one[name].equals(other[name]), name


@pytest.mark.slow
def test_a_mirrored_source_gives_the_same_frames() -> None:
    pairs = [("x", "y", "m", "n"), ("y", "x", "m", "m"), ("x", "x", "m", "n"), ("z", "z", "m", "m")]
    choices: list[tuple[str, str | None]] = [("a", "a"), ("b", "a"), ("tie", "b"), ("invalid", None), ("a", "b")]
    check_mirrored(pairs, [(i, "h", c, first, 2) for i in range(4) for c, first in choices])
    check_mirrored(pairs[:3], [(i, "h", c, first, 1) for i in range(3) for c, first in choices])


@pytest.mark.service
@given(
    st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from("xyz"), st.sampled_from("mn"), st.sampled_from("mn")),
             min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["h0", "h1"]), st.sampled_from(list(SIDES)),
                       st.sampled_from(["a", "b", None]), st.integers(0, 2)), min_size=1, max_size=6),
)  # fmt: skip
def test_any_mirrored_source_gives_the_same_frames(
    pairs: list[tuple[str, str, str, str]], votes: list[tuple[int, str, str, str | None, int]]
) -> None:
    check_mirrored(pairs, votes)


@pytest.mark.slow
@pytest.mark.parametrize("order", [[4, 3, 2, 1, 0], [1, 0, 3, 4, 2]])
def test_shuffled_files_give_the_same_frames(order: list[int]) -> None:
    rows = [vote("p0", "x", "a"), vote("p0", "x", "b"), vote("p0", "y", "tie"), vote("p1", "x", "a"),
            vote("p1", "z", "b")]  # fmt: skip
    straight = convert(source(pairs=PAIRS, annotations=rows)).frames
    shuffled = convert(source(pairs=PAIRS[::-1], annotations=[rows[i] for i in order])).frames
    assert all(straight[name].equals(shuffled[name]) for name in straight)


def test_every_frame_keeps_its_contract_and_is_sorted_by_key() -> None:
    ingested = convert(source(pairs=PAIRS, annotations=[vote("p0", "x", "a", strength=1)]))
    for name, frame in ingested.frames.items():
        assert TABLES[name].complete(frame).sort(TABLES[name].key).equals(frame), name
        assert ingested.counts[name] == frame.height


def test_one_annotator_twice_on_a_pair_is_two_ballots_and_an_equal_row_is_one() -> None:
    rows = [vote("p0", "x", "a", timestamp=f"2023-05-{day} 13:11:45") for day in (19, 20)]
    ingested = convert(source(pairs=PAIRS, annotations=[*rows, rows[0]]))
    votes = ingested.frames["votes"]
    assert votes["ballot_id"].n_unique() == votes.height == 2
    assert ingested.merged == {"equal votes": 1}
    assert votes["voted_at"].min() == datetime(2023, 5, 19, 13, 11, 45, tzinfo=UTC)


def test_both_orders_of_a_judge_are_one_ballot() -> None:
    rows = [vote("p0", "J/CoT", "a", annotator_kind="ai", judge_model="J", swapped=s) for s in (True, False)]
    f = convert(source(pairs=PAIRS, annotations=rows)).frames
    assert f["votes"].height == 2
    assert f["votes"]["ballot_id"].n_unique() == 1
    assert sorted(f["votes"]["shown_first"]) == ["a", "b"]
    assert f["voters"].select("voter", "kind", "family", "model").rows() == [("set/J/CoT", "judge", "J", "J")]


def test_the_text_shown_first_is_the_right_one_when_the_source_says_swapped() -> None:
    f = convert(source(pairs=PAIRS[:1], annotations=[vote("p0", "x", "a", shown_swapped=True)])).frames
    first = f["votes"].join(f["pairs"], on="pair_id").select(
        pl.when(pl.col("shown_first") == "a").then("response_a").otherwise("response_b").alias("response_id"))
    assert first.join(f["responses"], on="response_id").join(f["texts"], on="text_id")["text"].item() == "right text"


@pytest.mark.slow
def test_an_order_that_the_source_does_not_tell_stays_unknown_except_where_its_readme_does() -> None:
    rows = [vote("p0", "x", "a")]
    unknown = convert(source(pairs=PAIRS, annotations=rows)).frames["votes"]
    known = convert(source("llmfao", pairs=PAIRS, annotations=rows)).frames["votes"]
    assert unknown["shown_first"].to_list() == [None]
    assert known["shown_first"].to_list() == ["a" if known["p_a"].item() == 1 else "b"]


def test_strength_takes_its_sign_from_the_vote() -> None:
    rows = [vote("p0", "x", "a", strength=2), vote("p0", "y", "b", strength=1), vote("p0", "z", "tie", strength=0)]
    votes = convert(source(pairs=PAIRS, annotations=rows)).frames["votes"].sort("voter")
    for_a = 1 if votes["p_a"][0] == 1 else -1
    assert votes["strength"].to_list() == [2.0 * for_a, -1.0 * for_a, 0.0]


def test_acceptability_is_a_rating_of_the_response_it_was_said_of() -> None:
    rows = [vote("p0", "x", "a", acceptable_a="yes", acceptable_b="no")]
    f = convert(source(pairs=PAIRS, annotations=rows)).frames
    texts = f["ratings"].join(f["responses"], on="response_id").join(f["texts"], on="text_id")
    assert dict(texts.select("text", "value").rows()) == {"left text": 1.0, "right text": 0.0}
    assert f["ratings"]["ballot_id"].unique().to_list() == f["votes"]["ballot_id"].to_list()


def test_only_human_votes_are_recorded_for_replay() -> None:
    rows = [vote("p0", "x", "a", acceptable_a="yes"), vote("p0", "gpt-4", "b", annotator_kind="ai", acceptable_a="no")]
    f = convert(source(pairs=PAIRS, annotations=rows), is_recorded=True).frames
    assert dict(f["votes"].select("voter", "status").rows()) == {"set/x": "recorded", "set/gpt-4": "cast"}
    assert dict(f["ratings"].select("voter", "status").rows()) == {"set/x": "recorded", "set/gpt-4": "cast"}
    assert dict(f["voters"].select("voter", "family").rows()) == {"set/x": "set/x", "set/gpt-4": "gpt-4"}


@pytest.mark.slow
def test_models_are_policies_and_item_ids_are_not() -> None:
    models = [PAIRS[0] | {"model_a": "m1", "model_b": "m2"}]
    items = [PAIRS[0] | {"id_a": 1, "id_b": 2}]
    keys = [PAIRS[0] | {"cmp_key": "m1_m2"}]
    texts = pl.col("author"), pl.col("policy")
    for pairs, expected in [(models, {("m1", "m1"), ("m2", "m2")}), (items, {("1", None), ("2", None)}),
                            (keys, {("m1", "m1"), ("m2", "m2")})]:  # fmt: skip
        assert set(convert(source(pairs=pairs)).frames["responses"].select(texts).rows()) == expected


def test_the_first_name_of_a_comparison_key_wrote_response_a() -> None:
    f = convert(source(pairs=[PAIRS[0] | {"cmp_key": "m1_m2"}])).frames
    texts = f["responses"].join(f["texts"], on="text_id")
    assert dict(texts.select("author", "text").rows()) == {"m1": "left text", "m2": "right text"}


def test_a_majority_label_beside_votes_is_no_vote_and_a_gold_label_is_a_tag() -> None:
    pairs = [PAIRS[0] | {"label": "a", "label_source": "human_majority"},
             PAIRS[1] | {"label": "b", "label_source": "human_gold"}]  # fmt: skip
    f = convert(source(pairs=pairs, annotations=[vote("p0", "x", "b")])).frames
    assert f["votes"]["voter"].to_list() == ["set/x"]
    gold = f["pair_tags"].join(f["pairs"], on="pair_id")
    assert gold["key"].to_list() == ["gold_label"]
    winner = gold["response_a"] if gold["value"].item() == "a" else gold["response_b"]
    text = f["responses"].filter(pl.col("response_id") == winner.item()).join(f["texts"], on="text_id")
    assert text["text"].item() == "no reason"


def test_a_label_alone_is_one_imported_vote() -> None:
    pairs = [PAIRS[0] | {"label": "a"}, PAIRS[1] | {"label": None}]
    ingested = convert(source(pairs=pairs), is_recorded=True)
    assert ingested.frames["votes"].select("voter", "status").rows() == [("imported/set", "cast")]
    assert chosen_text(ingested) == ["left text"]


@pytest.mark.slow
def test_counts_without_names_are_one_row_per_choice() -> None:
    pairs = [PAIRS[0] | {"votes_a": 3, "votes_b": 2, "votes_tie": 0, "label": "a"}]
    ingested = convert(source(pairs=pairs))
    votes = ingested.frames["votes"]
    assert sorted(votes["n"]) == [2, 3]
    sides = {3: "left text", 2: "right text"}
    assert chosen_text(ingested) == [sides[n] for n in votes.sort("pair_id", "vote_id")["n"]]
    more = convert(source(pairs=[pairs[0] | {"votes_a": 0}])).frames["votes"]
    assert more["vote_id"].is_in(votes["vote_id"].implode()).all()


@pytest.mark.slow
def test_equal_texts_are_kept_and_tagged_and_one_response_against_itself_is_a_tie() -> None:
    same = {"pair_id": "p", "prompt": "q", "response_a": "t", "response_b": "t"}
    for pair, p_tie in [(same | {"model_a": "m", "model_b": "n"}, 0.0), (same, 1.0)]:
        f = convert(source(pairs=[pair], annotations=[vote("p", "x", "a")])).frames
        assert f["pair_tags"].select("key", "tagger").rows() == [("identical_text", "tiebreak")]
        assert f["responses"].height == 2
        assert f["votes"]["p_tie"].to_list() == [p_tie]


def test_pairs_of_the_same_two_responses_are_one_and_their_votes_stay_apart() -> None:
    pairs = [PAIRS[0], PAIRS[0] | {"pair_id": "again"}, PAIRS[0]]
    ingested = convert(source(pairs=pairs, annotations=[vote("p0", "x", "a"), vote("again", "x", "a")]))
    assert ingested.counts["pairs"] == 1
    assert ingested.counts["votes"] == 2
    assert ingested.merged == {"equal rows of one pair_id": 1, "pairs of the same two responses": 1}


def test_one_pair_id_for_two_pairs_refuses_both_and_their_votes() -> None:
    pairs = [*PAIRS, PAIRS[0] | {"response_a": "another"}]
    ingested = convert(source(pairs=pairs, annotations=[vote("p0", "x", "a"), vote("p1", "x", "a")]))
    assert ingested.counts["pairs"] == ingested.counts["votes"] == 1
    assert ingested.frames["rejects"].sort("file", "row").select("file", "row", "expected").rows() == [
        ("annotations.jsonl", 1, "the id of a pair that was read"),
        ("pairs.jsonl", 1, "one pair per pair_id"),
        ("pairs.jsonl", 3, "one pair per pair_id"),
    ]


@pytest.mark.slow
def test_bad_rows_are_refused_with_their_place_and_the_rest_is_taken() -> None:
    votes = [vote("p0", "x", "a"), vote("p0", "y", "left"), vote("p9", "x", "a"), vote("p0", "", "a")]
    ingested = convert(source(pairs=PAIRS, annotations=votes))
    assert ingested.counts["votes"] == 1
    assert ingested.frames["rejects"].sort("row").select("row", "column", "seen").rows() == [
        (2, "vote", "left"), (3, "pair_id", "p9"), (4, "annotator", "null")]  # fmt: skip


@pytest.mark.slow
def test_a_source_of_only_bad_rows_is_refused() -> None:
    with pytest.raises(InputError, match=r"none of 1 rows could be read, first: \[\('pairs.jsonl', 1, 'prompt'"):
        convert(source(pairs=[PAIRS[0] | {"prompt": ""}]))


def test_one_name_for_a_person_and_a_judge_is_refused() -> None:
    rows = [vote("p0", "x", "a"), vote("p1", "x", "a", annotator_kind="ai")]
    with pytest.raises(InputError, match=r"set/x is .*expected one kind and family per annotator"):
        convert(source(pairs=PAIRS, annotations=rows))


@pytest.mark.parametrize(
    ("grouped", "same"),
    [
        (lambda: source(pairs=PAIRS), False),
        (lambda: source(pairs=[PAIRS[0], PAIRS[1] | {"prompt": "  which ?"}]), True),
        (lambda: source("ukpconvarg1", pairs=[p | {"topic": "t"} for p in PAIRS]), True),
    ],
)
def test_prompts_are_one_group_when_a_column_or_their_text_says_so(
    grouped: Callable[[], RawSource], same: bool
) -> None:
    prompts = convert(grouped()).frames["prompts"]
    assert (prompts.height, prompts["group_id"].n_unique() == 1) == (2, same)


def test_groups_that_share_a_prompt_are_one() -> None:
    pairs = [PAIRS[0] | {"topic": "s"}, PAIRS[0] | {"pair_id": "x", "topic": "t", "response_a": "other"},
             PAIRS[1] | {"topic": "t"}, PAIRS[1] | {"pair_id": "y", "prompt": "Alone?", "topic": "u"}]  # fmt: skip
    groups = convert(source(pairs=pairs), group_by="topic").frames["prompts"]["group_id"]
    assert sorted(groups) == ["set/s", "set/s", "set/u"]


def test_a_group_column_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match=r"no column 'topic' among \['pair_id', 'prompt'"):
        convert(source(pairs=PAIRS), group_by="topic")


@pytest.mark.slow
def test_licences_are_known_for_known_sources_only() -> None:
    columns = "licence", "may_redistribute"
    assert convert(source("llmfao", pairs=PAIRS)).frames["sources"].select(columns).row(0) == ("CC-BY-4.0", True)
    assert convert(source("mine", pairs=PAIRS)).frames["sources"].select(columns).row(0) == (None, None)


def test_columns_that_are_not_read_are_named() -> None:
    pairs = [PAIRS[0] | {"colour": "red", "chosen": None}]
    assert convert(source(pairs=pairs)).skipped == {"pairs.jsonl": "columns not read: colour"}


@pytest.mark.slow
def test_a_text_of_200_kb_is_kept_whole() -> None:
    long = "ä" * 100_000
    f = convert(source(pairs=[PAIRS[0] | {"response_a": long}])).frames
    assert f["texts"].filter(pl.col("text") == long)["text_id"].to_list() == [text_id(long)]


def test_votes_in_the_same_row_as_their_texts_are_refused_and_not_lost() -> None:
    row = {"prompt": "q", "response_a": "x", "response_b": "y", "annotator": "w", "vote": "a", ROW: 1}
    with pytest.raises(InputError, match="a file of their own"):
        convert(RawSource("flat", {"flat.jsonl": pl.DataFrame([row])}))
