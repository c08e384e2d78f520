"""Order effects of recorded judges equal an independent count over the raw files; the bench's panel is what it says."""

from __future__ import annotations

from collections import defaultdict
from itertools import product
from pathlib import Path

import polars as pl
import pytest

from bench.judges import SINGLES, compare, control, load, over_styles, split, styles
from curate.adapters.files import read_source
from curate.importing.convert import convert
from curate.judging.calibration import calibration_quality, cross_fitted, fit_calibration, votes_on_gold
from curate.judging.order_effects import ballot_marks, flip_rates, order_effects

Counts = dict[str, float]


def effects(folder: Path) -> pl.DataFrame:
    """Order effects through importer and `order_effects`, with few resamplings: bounds are not looked at here."""
    votes, pairs = ours(folder)
    return order_effects(votes, pairs, n_bootstrap=20)


def ours(folder: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    frames = convert(read_source(folder)).frames
    label = frames["pair_tags"].filter(pl.col("key") == "gold_label").select("pair_id", "value")
    groups = frames["prompts"].select("prompt_id", "group_id")
    pairs = frames["pairs"].join(groups, on="prompt_id").join(label, on="pair_id", how="left")
    truth = [(pl.col("value") == side).cast(pl.Float64).alias(name) for name, side in (("p_a", "a"), ("p_tie", "tie"))]
    return frames["votes"], pairs.with_columns(truth)


def values(found: pl.DataFrame, voter: str) -> Counts:
    return dict(found.filter(pl.col("voter") == voter).select("metric", "value").iter_rows())


def counted(answers: dict[object, dict[bool, str]], truth: dict[object, str]) -> Counts:
    """By hand: per pair the answer in the order as stored and in the swapped one, as a, b, tie or invalid of the
    stored letters."""
    both = {pair: said for pair, said in answers.items() if len(said) == 2}
    slots: dict[str, int] = defaultdict(int)
    kept = flipped = whole = 0
    marks = []
    for pair, said in both.items():
        straight, swapped = said[False], said[True]
        kept += straight == swapped != "invalid"
        if "invalid" not in (straight, swapped):
            whole += 1
            flipped += straight != swapped
        for is_swapped, one in said.items():
            slot = {"a": "second" if is_swapped else "first", "b": "first" if is_swapped else "second"}
            slots[slot.get(one, one)] += 1
        right = [0.5 if one == "tie" else float(one == truth.get(pair)) for one in said.values() if one != "invalid"]
        if pair in truth and right:
            marks.append(sum(right) / len(right))
    n = len(both)
    found = {"kept": kept / n, "flipped": flipped / whole, "failed": slots["invalid"] / (2 * n),
             **{name: slots[name] / (2 * n) for name in ("first", "second", "tie")}}
    return found | ({"accuracy": sum(marks) / len(marks)} if marks else {})


@pytest.mark.slow
def test_gpt_4_on_the_qlora_pairs_keeps_its_verdict_on_61_percent(real_data: Path) -> None:
    folder = real_data / "qlora_gpt4"
    answers: dict[object, dict[bool, str]] = defaultdict(dict)
    columns = ["question_id", "model_a", "model_b", "vote"]
    for question, left, right, vote in pl.read_parquet(folder / "vicuna_gpt4_votes.parquet", columns=columns).rows():
        is_swapped = left > right
        stored = {"a": "b", "b": "a"}.get(vote, vote) if is_swapped else vote
        answers[question, min(left, right), max(left, right)][is_swapped] = stored
    by_hand = counted(answers, {})
    found = values(effects(folder), "qlora_gpt4/gpt-4")
    assert len(answers) == 2240
    assert found == pytest.approx(by_hand)
    percent = [round(100 * found[name], 1) for name in ("kept", "first", "second", "tie")]
    assert percent == [61.0, 56.1, 30.2, 13.4]


@pytest.mark.service
def test_every_llmbar_judge_and_prompting_equals_a_count_by_hand(real_data: Path) -> None:
    folder = real_data / "llmbar"
    label = dict(pl.read_parquet(folder / "pairs.parquet", columns=["pair_id", "label"]).rows())
    answers: dict[tuple[str, str], dict[object, dict[bool, str]]] = defaultdict(lambda: defaultdict(dict))
    raw = pl.read_parquet(folder / "judgments.parquet")
    for judge, style, pair, is_swapped, vote in raw.select(
        "judge_model", "prompting", "pair_id", "swapped", "vote"
    ).iter_rows():
        answers[judge, style][pair][is_swapped] = vote
    found = effects(folder)
    judges = {judge for judge, _ in answers}
    assert judges == {"GPT-4", "ChatGPT", "ChatGPT-0301", "PaLM2", "LLaMA2", "Falcon"}
    assert found["voter"].n_unique() == len(answers) == 65
    for (judge, style), said in answers.items():
        assert values(found, f"llmbar/{judge}/{style}") == pytest.approx(counted(said, label)), (judge, style)


@pytest.mark.service
def test_both_ways_to_count_flips_agree(real_data: Path) -> None:
    votes, pairs = ours(real_data / "llmbar")
    ours_flipped = ballot_marks(votes, pairs).group_by("voter").agg(pl.col("flipped").mean()).sort("voter")
    assert ours_flipped["flipped"].to_list() == pytest.approx(flip_rates(votes)["flip_rate"].to_list())


@pytest.mark.service
@pytest.mark.parametrize("method", ["temperature", "isotonic"])
def test_recorded_judges_gain_by_calibration_on_groups_their_fit_has_not_seen(real_data: Path, method: str) -> None:
    folder = real_data / "llmbar"
    votes, pairs = ours(folder)
    voters = convert(read_source(folder)).frames["voters"]
    on_gold = votes_on_gold(votes, voters, pairs)
    assert fit_calibration(on_gold, method).filter(pl.col("reason") != "").is_empty()
    before, after = calibration_quality(on_gold), calibration_quality(cross_fitted(on_gold, method))
    assert (after["brier"] <= before["brier"] + 0.005).all()
    assert after["ece"].mean() < before["ece"].mean() / 2  # type: ignore[operator]


@pytest.mark.service
def test_on_adversarial_pairs_the_panel_is_worse_than_the_judge_chosen_beforehand(real_data: Path) -> None:
    """Said plainly in docs/results.md; a change that turns it around must be noticed."""
    world = load(real_data / "llmbar")
    each = styles(world)
    chosen = ["Vanilla", "Metrics_Reference"]
    members = {style: each.filter(pl.col("style") == style) for style in chosen}
    compared = [compare(world, style, mine) for style, mine in members.items()]
    assert split(world)[1].height == 214
    assert [one.n_calibration for one in compared] == [62, 128]
    assert all(voter == f"llmbar/GPT-4/{one.style}" for one in compared for voter in one.best.values())
    for rule, single in product(("panel", "majority vote"), SINGLES):
        equal_coverage, all_pairs = over_styles(compared, rule, single)
        assert equal_coverage[2] < 0, "the whole interval says that the single judge is better"
        assert all_pairs[2] < 0
    sure, shuffled, right = control(world, members["Metrics_Reference"])
    assert shuffled < 0.03 < sure
    assert 0.4 < right < 0.6
