"""A promoted language model votes in the next round: asked once, out of its training groups, if it is itself."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import polars as pl
import pytest
from served_models import ServedModels, served_turn
from small_rounds import run_only
from small_trainings import (
    BASE,
    SCALE,
    WordServer,
    WordTrainer,
    put_pairs,
    rows,
    tuned_recipe,
    tuned_turn,
    tuned_workspace,
)
from test_prompt_sources import put_prompts

from curate.rewards.language_models import log_odds, side_scores, unlike
from flows.retrain import _measured
from flows.retraining import retrain
from flows.reward_models import _vote_rows
from flows.rounds import Turn
from flows.trained import Trained, trained_from
from schemas.errors import RefusedError
from schemas.ids import content_id
from schemas.settings import Endpoint, Settings
from schemas.tables import GOLD
from warehouse.store import Store

pytestmark = [pytest.mark.usefixtures("unpublished"), pytest.mark.service]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose language model was promoted, and that took in new pairs since."""
    folder = tmp_path_factory.mktemp("promoted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warehouse.store.Writer.publish", lambda self: None)
        store = tuned_workspace(folder)
        retrain(store.workspace.root, None, say=lambda line: None, carry=WordTrainer())
        put_pairs(store, folder, "second", range(10))
    return store.workspace.root


@pytest.fixture
def promoted(made: Path, tmp_path: Path) -> Store:
    shutil.copytree(made, tmp_path / "promoted")
    return Store(tmp_path / "promoted", lock_wait=0.2)


def model_of(store: Store) -> Trained:
    with store.write("test") as writer:
        return trained_from(writer.query("incumbent", dataset="d").row(0, named=True))


def settings_of(store: Store) -> Settings:
    """An endpoint of the model, which nobody asks: the engine behind it is made on the spot."""
    return Settings(endpoints=(Endpoint(model=model_of(store).voter, url="http://127.0.0.1:9/v1"),))


@pytest.fixture
def server(promoted: Store, monkeypatch: pytest.MonkeyPatch) -> WordServer:
    made = WordServer(promoted.workspace.root / model_of(promoted).uri)
    monkeypatch.setattr("flows.engines.served", lambda models, settings, spent_usd=0.0: made)
    return made


def taken_to_scores(store: Store, lines: list[str] | None = None, **sections: object) -> Turn:
    turn = tuned_turn(store, tuned_recipe(**sections), (lines if lines is not None else []).append, settings_of(store))
    run_only(turn, "synthesize", "mark_gold", "judge", "score")
    return turn


def test_it_votes_on_new_pairs_with_the_probability_of_its_margin(promoted: Store, server: WordServer) -> None:
    taken_to_scores(promoted)
    model = model_of(promoted)
    said = pl.DataFrame(rows(promoted, """
        SELECT vote.p_a, a.score, b.score FROM votes AS vote JOIN pairs AS pair USING (pair_id)
        JOIN scores AS a ON a.response_id = pair.response_a JOIN scores AS b ON b.response_id = pair.response_b
        WHERE vote.voter LIKE 'rm/%'"""), orient="row", schema=["p_a", "a", "b"])
    assert said.height > 0
    expected = [1 / (1 + math.exp((b - a) / SCALE)) for _, a, b in said.rows()]
    assert [p for p, *_ in said.rows()] == pytest.approx(expected)
    assert rows(promoted, "SELECT voter, kind, family, model FROM voters WHERE voter LIKE 'rm/%'") == [
        (model.voter, "reward_model", BASE, model.name)]
    assert rows(promoted, "SELECT DISTINCT template, is_out_of_fold FROM scores") == [("chat@1", True)]


def test_a_pair_of_a_training_group_gets_no_vote_and_the_round_says_how_many(
    promoted: Store, server: WordServer
) -> None:
    lines: list[str] = []
    taken_to_scores(promoted, lines)
    assert rows(promoted, "SELECT DISTINCT source FROM votes JOIN pair_sources USING (pair_id) WHERE voter LIKE 'rm/%'"
                ) == [("second",)]
    (n,) = rows(promoted, "SELECT count(*) FROM labels WHERE action <> 'drop'")[0]
    assert any(f"on {n} pairs of groups that it was trained on" in line for line in lines)


def test_calls_are_recorded_with_their_price_and_made_once(promoted: Store, server: WordServer) -> None:
    turn = taken_to_scores(promoted)
    n = len({r.call_key for r in server.asked})
    calls = rows(promoted, "SELECT kind, voter, template, sum(cost_usd), count(*) FROM calls GROUP BY ALL")
    (count,) = [c for *_, c in calls]
    assert calls == [("score", model_of(promoted).voter, "chat@1", pytest.approx(0.01 * count), count)]
    with promoted.write("test") as writer:  # as if a kill had come before anything but the calls was kept
        writer._connection.execute("DELETE FROM votes WHERE voter LIKE 'rm/%'")
        writer._connection.execute("DELETE FROM round_stages WHERE stage = 'score'")
        writer._connection.execute("""DELETE FROM scores WHERE response_id NOT IN (
            SELECT unnest([response_a, response_b]) FROM pairs SEMI JOIN gold USING (pair_id))""")
    run_only(turn, "score")
    assert len({r.call_key for r in server.asked}) == n
    assert rows(promoted, "SELECT count(*) FROM calls") == [(count,)]
    assert rows(promoted, "SELECT count(*) > 0 FROM votes WHERE voter LIKE 'rm/%'") == [(True,)]


def test_a_server_that_answers_otherwise_than_recorded_is_refused_before_it_is_believed(
    promoted: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = WordServer(promoted.workspace.root / model_of(promoted).uri, shift=0.5)
    monkeypatch.setattr("flows.engines.served", lambda models, settings, spent_usd=0.0: other)
    with pytest.raises(RefusedError, match=r"is not that model: 4 of 4 rewards are others.*serve-rm d-1-"):
        taken_to_scores(promoted)
    assert rows(promoted, "SELECT count(*) FROM calls") == [(0,)]


def test_without_anybody_to_ask_the_stage_names_the_command_that_serves_it(promoted: Store) -> None:
    turn = tuned_turn(promoted, tuned_recipe(), settings=Settings(inference_python="nowhere/python"))
    with pytest.raises(RefusedError, match=r"nobody serves rm/d-1-.*next: tiebreak serve-rm d-1-"):
        run_only(turn, "synthesize", "mark_gold", "judge", "score")


def test_gold_that_came_after_its_training_is_asked_for_when_the_next_candidate_is_measured(
    promoted: Store, server: WordServer
) -> None:
    turn = taken_to_scores(promoted)
    run_only(turn, "route", "send", "collect", "settle", "release", "export", "retrain", "evaluate", "gate")
    before = len(server.asked)
    (promoted.workspace.root / "settings.toml").write_text(
        f'[[endpoints]]\nmodel = "{model_of(promoted).voter}"\nurl = "http://127.0.0.1:9/v1"\n')
    retrain(promoted.workspace.root, None, say=lambda line: None, carry=WordTrainer())
    assert rows(promoted, "SELECT count(DISTINCT candidate) FROM promotions WHERE incumbent LIKE 'd-1-%'") == [(1,)]
    later = rows(promoted, "SELECT count(*) FROM gold JOIN pairs USING (pair_id) WHERE pairs.source = 'second'")
    asked = [json.loads(r.messages)[0]["content"] for r in server.asked[before:]]
    assert len([text for text in asked if text.startswith("second")]) == 2 * later[0][0] > 0  # type: ignore[operator]


def test_gold_of_a_group_that_a_model_was_trained_on_is_left_out_of_its_measurement(
    promoted: Store, server: WordServer
) -> None:
    taught = rows(promoted, """SELECT pair_id::VARCHAR FROM labels JOIN pairs USING (pair_seq)
                               WHERE action = 'keep' ORDER BY ALL LIMIT 1""")[0][0]
    turn = taken_to_scores(promoted)
    with promoted.write("test") as writer:
        late = {"pair_id": taught, "criterion": "overall", "p_a": 1.0, "p_tie": 0.0, "why": "late", "source": "first",
                "use": "gate"}
        writer.append({"gold": GOLD.complete(pl.DataFrame([late]))})
    gold, margins = _measured(turn)
    assert taught not in gold["pair_id"].to_list()
    assert model_of(promoted).name in margins


def test_a_head_of_the_next_round_is_measured_against_the_language_model(promoted: Store, server: WordServer) -> None:
    turn = taken_to_scores(promoted, training={"n_folds": 2, "min_pairs": 4, "panel": ["words"], "features": ["words"]})
    run_only(turn, "route", "send", "collect", "settle", "release", "export", "retrain", "evaluate", "gate")
    ((incumbent, candidate),) = rows(
        promoted, f"SELECT incumbent, candidate FROM promotions WHERE round_id = '{turn.round_id}'")
    assert incumbent == model_of(promoted).name
    assert str(candidate).startswith("d-2-")


def test_candidates_are_scored_by_the_promoted_language_model(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, promoted: Store
) -> None:
    put_prompts(store, tmp_path, n=1)
    model, lines = model_of(promoted), list[str]()
    monkeypatch.setattr("flows.candidates.load_incumbent", lambda writer, turn: model)
    monkeypatch.setattr("flows.trained._asked", lambda turn, model, rows: rows.select("response_id").sort(
        "response_id").with_columns(score=pl.lit(0.25)))
    run_only(served_turn(store, ServedModels(), lines.append, method="best_of_n", scorer="incumbent"), "synthesize")
    assert rows(store, "SELECT DISTINCT model, template, score, is_out_of_fold FROM scores") == [
        (model.name, "chat@1", 0.25, True)]


def test_a_reward_that_was_not_said_is_another_reward() -> None:
    recorded = pl.DataFrame({"response_id": ["x", "y"], "score": [1.0, -20.0]})
    assert unlike(recorded, pl.DataFrame({"response_id": ["x", "y"], "score": [1.0005, -20.01]}), "float32") == ""
    assert "1 of 2" in unlike(recorded, pl.DataFrame({"response_id": ["x", "y"], "score": [1.002, -20.0]}), "float32")
    assert unlike(recorded, pl.DataFrame({"response_id": ["x", "y"], "score": [1.05, -19.0]}), "bfloat16") == ""
    assert "the first none" in unlike(recorded, pl.DataFrame({"response_id": ["x"], "score": [1.0]}), "bfloat16")


def test_a_side_without_a_reward_makes_a_margin_of_nothing() -> None:
    pairs = pl.DataFrame({"pair_id": ["p", "q"], "response_a": ["x", "x"], "response_b": ["y", "z"]})
    scores = side_scores(pairs, pl.DataFrame({"response_id": ["x", "y"], "score": [3.0, 1.0]}))
    assert scores.rows() == [("p", 3.0, 1.0), ("q", 3.0, None)]
    assert log_odds(scores, 0.5).rows() == [("p", 4.0), ("q", 0.0)]


def test_votes_of_heads_keep_the_ids_that_they_had(promoted: Store) -> None:
    opinion = pl.DataFrame({"pair_id": [content_id("p")], "p_a": [0.7], "p_tie": [0.0]})
    (vote,) = _vote_rows(opinion, "rm/m", "prompt-response@1", "overall", content_id("r")).rows(named=True)
    key = ("reward_model", "prompt-response@1", content_id("p"), "rm/m", "overall")
    assert (vote["vote_id"], vote["ballot_id"]) == (content_id(*key, None, None), content_id(*key))
