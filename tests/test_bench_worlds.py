"""The frozen worlds are what their files say, and the bench over them measures what it says."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression

from bench._worlds import Terms, all_worlds, auroc, draw, judges, posterior, truly_wrong, voices
from bench.worlds import KNOWN, ROUTED, coverage, differences, label_error, measured, oracle, report, spend
from curate.routing.candidates import candidates
from curate.routing.wrongness import _scores, _signs
from schemas.tables import EVIDENCE, POSTERIORS

WORLDS = all_worlds()
NAMES = ("ai08_human15_auroc60", "ai15_human05_auroc75", "ai25_human05_auroc90", "together")
SOME = [t for t in WORLDS if t.name in NAMES]


def small(name: str, n_pairs: int = 600) -> Terms:
    return next(Terms(**{**vars(t), "n_pairs": n_pairs}) for t in WORLDS if t.name == name)


def test_every_combination_that_was_promised_is_frozen() -> None:
    grid = {(t.ai_error, t.human_error, t.auroc) for t in WORLDS if t.shared_error == 0 and t.in_judges == 0.5}
    assert grid == {(e, h, a) for e in (0.08, 0.15, 0.25) for h in (0.05, 0.15) for a in (0.6, 0.75, 0.9)}
    assert [t.name for t in WORLDS if t.shared_error > 0] == ["together"]
    assert {t.n_pairs for t in WORLDS} == {5000}


@pytest.mark.parametrize("terms", SOME, ids=lambda t: t.name)
def test_errors_are_those_of_the_file(terms: Terms) -> None:
    world = draw(terms, 1)
    assert label_error(world, np.zeros(5000, dtype=np.int64)) == pytest.approx(terms.ai_error, abs=2e-4)
    clear = ~world.is_wrong
    assert (world.said[clear] != world.truth[clear, None]).mean() == pytest.approx(terms.human_error, abs=0.01)


@pytest.mark.parametrize("terms", SOME, ids=lambda t: t.name)
def test_ai_errors_are_as_detectable_as_the_file_says_and_by_nothing_else(terms: Terms) -> None:
    """By the best reader of the signs; a model on all that candidates hold, labels included, reaches no more."""
    world = draw(terms, 1)
    assert world.detection() == pytest.approx(terms.auroc, abs=0.035)
    x = np.column_stack([world.panel.max(axis=1), _scores(_signs(world.known)), np.eye(3)[world.label]])
    half = np.arange(5000) % 2 == 0
    model = LogisticRegression(C=0.1, max_iter=500).fit(x[half], world.is_wrong[half])
    best = auroc(world.signs[~half] @ terms.distances, world.is_wrong[~half])
    assert auroc(model.predict_proba(x[~half])[:, 1], world.is_wrong[~half]) == pytest.approx(best, abs=0.035)


@pytest.mark.service
def test_detectability_is_exact_over_many_pairs() -> None:
    terms = Terms(**{**vars(small("ai15_human05_auroc75")), "n_pairs": 100_000})
    assert draw(terms, 1).detection() == pytest.approx(0.75, abs=0.006)


def test_voices_are_the_panel_and_the_votes_bought_so_far() -> None:
    world = draw(small("ai15_human05_auroc75", 4), 1)
    told = voices(world, np.array([0, 1, 2, 4]))
    assert told.select("said_a", "said_tie", "said_b").to_numpy().sum(axis=1).tolist() == [0, 1, 2, 4]
    assert told.row(1)[1:4] == tuple(float(world.said[1, 0] == k) for k in range(3))
    assert told["prior_a"].to_numpy().tolist() == world.panel[:, 0].tolist()


def test_people_are_misled_where_judges_and_people_err_together() -> None:
    world = draw(next(t for t in WORLDS if t.name == "together"), 1)
    says_as_judges = (world.said == world.label[:, None])[world.is_wrong].mean()
    assert says_as_judges == pytest.approx(0.5, abs=0.05)


def test_the_judges_votes_give_the_spread_that_candidates_hold() -> None:
    world = draw(small("ai15_human05_auroc75"), 1)
    told = EVIDENCE.complete(judges(world))
    texts = world.known.select("pair_id", "group_id", text_a=pl.lit("x"), text_b=pl.lit("y"))
    read = candidates(POSTERIORS.empty(), told, texts)["judge_spread"].to_numpy()
    held = world.known["judge_spread"].to_numpy()
    assert auroc(read, world.is_wrong) == pytest.approx(auroc(held, world.is_wrong), abs=0.05)


def test_the_same_seed_is_the_same_world() -> None:
    terms = small("ai15_human05_auroc75")
    assert draw(terms, 1).known.equals(draw(terms, 1).known)
    assert not draw(terms, 1).known.equals(draw(terms, 2).known)


@pytest.mark.slow
def test_the_panel_is_calibrated_and_who_knows_all_signs_knows_more() -> None:
    world = draw(Terms(**{**vars(small("ai15_human05_auroc75")), "n_pairs": 40_000}), 1)
    nothing = np.zeros(40_000, dtype=np.int64)
    panel = 1 - posterior(world, nothing).max(axis=1)
    knows = truly_wrong(world, nothing)
    for p in (panel, knows):
        doubtful = p > np.quantile(p, 0.9)
        assert world.is_wrong[doubtful].mean() == pytest.approx(p[doubtful].mean(), abs=0.03)
    assert auroc(knows, world.is_wrong) > auroc(panel, world.is_wrong) + 0.03


@pytest.mark.service
def test_every_method_spends_the_budget_and_the_oracle_no_more() -> None:
    world = draw(small("ai15_human05_auroc75"), 1)
    for method in ROUTED:
        assert spend(world, method, 60).sum() == 60
    assert 0 < oracle(world, 60).sum() <= 60
    assert label_error(world, oracle(world, 60)) < label_error(world, spend(world, KNOWN, 60))


@pytest.mark.service
def test_the_table_has_a_row_per_world_and_an_interval_for_the_difference() -> None:
    found = pl.concat([measured(small(name), range(2)) for name in ("ai15_human05_auroc90", "together")])
    assert found.filter(pl.col("method") == "oracle")["ratio"].to_list() == [1.0] * 4
    assert found.filter(pl.col("method") == "all AI")["ratio"].to_list() == [0.0] * 4
    gaps = differences(found)
    assert (gaps["low"] <= gaps["d"]).all()
    assert report(found).count("\n| ") == 3 - 1 + 1


@pytest.mark.service
def test_the_audit_s_interval_covers_about_as_often_as_it_says() -> None:
    for share in (0.0, 0.5):
        found = coverage(small("ai15_human15_auroc75", 1000), 60, 300, share)
        assert found["coverage"] >= 0.88
        assert abs(found["bias"]) < 0.02
