"""Released versions get their language model once, whoever wakes it, whatever ends it half-way."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from small_rounds import new_store, run_only
from small_trainings import (
    BASE,
    WordServer,
    WordTrainer,
    put_pairs,
    rows,
    tuned_recipe,
    tuned_round,
    tuned_turn,
    tuned_workspace,
)

from curate.adapters.trl.orders import file_sha256, read_frame
from flows.orders import lacking
from flows.retrain import promotions
from flows.retraining import due, retrain
from flows.rounds import Turn, no_candidate, now
from flows.settings import serving_settings
from flows.stages import STAGES
from schemas.errors import CallFailedError, LockHeldError, UserError
from schemas.ids import content_id
from schemas.settings import Settings
from schemas.tables import ROUNDS
from warehouse.statements import statement
from warehouse.store import Store

pytestmark = [pytest.mark.usefixtures("unpublished"), pytest.mark.service]


class KilledError(RuntimeError):
    """What a kill looks like from inside: nothing after it is done."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace after one round of a language-model recipe."""
    folder = tmp_path_factory.mktemp("tuned")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warehouse.store.Writer.publish", lambda self: None)
        lines: list[str] = []
        store = tuned_workspace(folder, lines.append)
        (store.workspace.root / "said").write_text("\n".join(lines))
    return store.workspace.root


@pytest.fixture
def released(made: Path, tmp_path: Path) -> Store:
    shutil.copytree(made, tmp_path / "ws")
    return Store(tmp_path / "ws", lock_wait=0.2)


def trained(store: Store, carry: object = None) -> list[str]:
    """What `retrain` said."""
    lines: list[str] = []
    retrain(store.workspace.root, None, say=lines.append, carry=carry or WordTrainer())  # type: ignore[arg-type]
    return lines


def states(store: Store) -> list[tuple[object, object]]:
    return [(row["version"], row["state"]) for row in due(store.workspace.root, None)]


def made_by(store: Store) -> list[object]:
    """Everything that a retraining appends."""
    return [rows(store, f"FROM {table} ORDER BY ALL") for table in ("models", "scores", "evaluations", "promotions")]


def test_a_round_of_a_language_model_trains_nothing_says_what_is_due_and_closes(released: Store) -> None:
    assert "d@1 is due for training" in (released.workspace.root / "said").read_text()
    with released.write("test") as writer:
        assert writer.query("open_round", dataset="d").is_empty()
    assert [rows(released, f"FROM {table}") for table in ("models", "promotions", "evaluations")] == [[], [], []]
    assert states(released) == [("d@1", "due")]
    assert due(released.workspace.root, released.workspace.recipe)[0]["base"] == BASE


def test_the_order_teaches_no_pair_of_a_gate_gold_group_and_tells_no_label_of_gold(released: Store) -> None:
    trained(released)
    (folder,) = [f for f in released.workspace.orders.iterdir() if f.is_dir()]
    lessons, readings = (read_frame(folder, f"{name}.parquet") for name in ("train", "measure"))
    gold = [text for text, in rows(released, "SELECT text_a FROM pairs_with_texts() SEMI JOIN gold USING (pair_id)")]
    assert gold
    assert not set(lessons["text_a"]) & set(gold)
    read = {json.loads(m)[-1]["content"] for m in readings["messages"]}
    assert set(gold) < read
    assert len(read) == readings.height == 2 * len(gold)
    assert readings.columns == ["response_id", "messages"]
    assert json.loads(lessons["messages"][0])[-1]["role"] == "user"
    assert lessons.height + len(gold) == 24


def test_a_pair_of_which_a_text_was_erased_since_the_release_is_not_taught(released: Store) -> None:
    ((pair, text),) = rows(released, """
        SELECT pair_id::VARCHAR, text_id::VARCHAR FROM labels JOIN pairs USING (pair_seq)
        JOIN responses ON response_id = response_a WHERE action = 'keep' ORDER BY ALL LIMIT 1""")
    with released.write("test") as writer:
        writer._connection.execute(statement("queries", "insert_tombstone"), {
            "what": "text", "row_id": text, "salt": None, "reason": "asked for", "n_rows": 1, "versions": "[]"})
    n_kept = rows(released, "SELECT count(*) FROM labels WHERE action = 'keep'")[0][0]
    trained(released)
    (folder,) = [f for f in released.workspace.orders.iterdir() if f.is_dir()]
    taught = read_frame(folder, "train.parquet")["pair_id"].to_list()
    assert pair not in taught
    assert len(taught) == n_kept - 1  # type: ignore[operator]


def test_a_lost_or_doubled_event_changes_nothing(released: Store) -> None:
    trainer = WordTrainer()
    first = trained(released, trainer)
    held = made_by(released)
    assert "promoted over longer-wins" in first[-1]
    assert trained(released, trainer) == []
    assert len(trainer.orders) == 1
    assert made_by(released) == held
    assert states(released) == []


def test_the_model_is_known_by_base_version_weights_and_scale(released: Store) -> None:
    trained(released)
    ((model, kind, base, family, uri, n, config),) = rows(
        released, "SELECT model, kind, base, family, uri, n_pairs, config FROM models")
    assert (kind, base, family, uri) == ("trl", BASE, BASE, f"orders/{model}/model")
    assert json.loads(str(config))["scale"] == 0.5
    assert rows(released, "SELECT count(*) FROM labels WHERE action = 'keep'") == [(n,)]
    metrics = rows(released, f"SELECT metric FROM evaluations WHERE model = '{model}'")
    assert ("accuracy",) in metrics
    assert rows(released, "SELECT count(*) FROM scores")[0][0] == 2 * rows(released, "SELECT count(*) FROM gold")[0][0]  # type: ignore[operator]


def test_two_at_once_train_once(released: Store) -> None:
    inner, said, seen = WordTrainer(), list[str](), list[tuple[object, object]]()

    def carry(folder: Path) -> object:
        seen.extend(states(released))
        said.extend(trained(released, inner))
        return WordTrainer()(folder)

    trained(released, carry)
    assert inner.orders == []
    assert seen == [("d@1", "training")]
    assert "nothing to do here" in said[0]
    assert rows(released, "SELECT verdict FROM promotions") == [("promoted",)]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_kill_before_or_after_the_outcome_goes_on_where_it_was(released: Store, moment: str) -> None:
    def killed(folder: Path) -> None:
        if moment == "after":
            WordTrainer()(folder)
        raise KilledError(moment)

    with pytest.raises(KilledError):
        trained(released, killed)
    assert states(released) == [("d@1", "due" if moment == "before" else "trained")]
    assert rows(released, "SELECT count(*) FROM models") == [(0,)]
    trainer = WordTrainer()
    trained(released, trainer)
    assert len(trainer.orders) == (1 if moment == "before" else 0)
    assert rows(released, "SELECT verdict FROM promotions") == [("promoted",)]


def test_a_kill_before_the_gate_is_measured_and_not_trained_again(
    released: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(turn: object) -> pl.DataFrame:
        raise KilledError("evaluate")

    with monkeypatch.context() as patch:
        patch.setattr("flows.retraining.evaluations", killed)
        with pytest.raises(KilledError):
            trained(released)
    assert states(released) == [("d@1", "trained")]
    trainer = WordTrainer()
    trained(released, trainer)
    assert (trainer.orders, states(released)) == ([], [])


def test_a_training_that_failed_three_times_is_left_to_its_owner_with_the_reason(released: Store) -> None:
    calls: list[Path] = []

    def fails(folder: Path) -> None:
        calls.append(folder)
        raise CallFailedError("the device ran out of memory", next="take a smaller batch")

    for _ in range(3):
        with pytest.raises(CallFailedError):
            trained(released, fails)
    lines = trained(released, fails)
    assert len(calls) == 3
    assert "left untrained: failure 3 of 3: the device ran out of memory" in lines[0]
    (row,) = due(released.workspace.root, None)
    assert (row["state"], row["failures"]) == ("left", 3)
    assert "raise max_failures" in str(row["note"])
    assert rows(released, "SELECT event, count(*) FROM runs WHERE flow = 'train' GROUP BY event ORDER BY event") == [
        ("failed", 3), ("started", 3)]
    (released.workspace.root / "settings.toml").write_text("[training]\nmax_failures = 4\n")
    assert "promoted" in trained(released)[-1]


def test_settings_with_a_pool_have_the_order_carried_out_there(
    released: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Path, bool, str]] = []

    def on_pool(root: Path, folder: Path, train_sha256: str, settings: Settings, *, say: object) -> None:
        seen.append((root, train_sha256 == file_sha256(folder / "train.parquet"), settings.training.pool))
        WordTrainer()(folder)

    monkeypatch.setattr("flows.training_pool.train_on_pool", on_pool)
    (released.workspace.root / "settings.toml").write_text('[training]\npool = "gpu"\n')
    retrain(released.workspace.root, None, say=lambda line: None)
    assert seen == [(released.workspace.root, True, "gpu")]
    assert rows(released, "SELECT verdict FROM promotions") == [("promoted",)]


def test_an_interrupted_training_is_counted_and_goes_on_at_the_next_call(released: Store) -> None:
    def interrupted(folder: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(released, interrupted)
    (row,) = due(released.workspace.root, None)
    assert (row["state"], row["failures"], row["note"]) == ("due", 1, "failure 1 of 3: KeyboardInterrupt")
    assert "promoted" in trained(released)[-1]


def test_a_folder_without_an_outcome_is_a_failure_whatever_the_carrier_says(released: Store) -> None:
    with pytest.raises(UserError, match="holds no outcome"):
        trained(released, lambda folder: None)
    assert rows(released, "SELECT count(*) FROM models") == [(0,)]
    assert due(released.workspace.root, None)[0]["failures"] == 1


def test_weights_that_changed_on_their_way_are_refused(released: Store) -> None:
    def careless(folder: Path) -> None:
        WordTrainer()(folder)
        (folder / "model" / "model.json").write_text('{"groups": [], "worth": {}}')

    with pytest.raises(UserError, match="sha256"):
        trained(released, careless)
    assert rows(released, "SELECT count(*) FROM models") == [(0,)]


def test_a_worse_candidate_is_refused_and_the_incumbent_stays(
    released: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(released)
    ((name,),) = rows(released, "SELECT model FROM models")
    (released.workspace.root / "settings.toml").write_text(
        f'[[endpoints]]\nmodel = "rm/{name}"\nurl = "http://127.0.0.1:9/v1"\n')
    server = WordServer(released.workspace.orders / str(name) / "model")
    monkeypatch.setattr("flows.engines.served", lambda models, settings, spent_usd=0.0: server)
    put_pairs(released, tmp_path, "second", range(12))
    tuned_round(released, tuned_recipe(), settings=serving_settings(released.workspace))
    lines = trained(released, WordTrainer(sign=-1.0))
    assert f"is refused over {name}" in lines[-1]
    with released.write("test") as writer:
        assert writer.query("incumbent", dataset="d")["trained_on"].to_list() == [1]


def test_an_overtaken_version_is_said_to_be_and_only_the_newest_is_trained(released: Store, tmp_path: Path) -> None:
    put_pairs(released, tmp_path, "second", range(12))
    tuned_round(released, tuned_recipe())
    assert states(released) == [("d@1", "overtaken"), ("d@2", "due")]
    trainer = WordTrainer()
    lines = trained(released, trainer)
    assert "d@1: no model: overtaken: d@2 was released meanwhile" in lines
    assert [name[:4] for name in trainer.orders] == ["d-2-"]
    assert rows(released, "SELECT n, verdict FROM promotions JOIN rounds USING (round_id) ORDER BY n") == [
        (1, "undecided"), (2, "promoted")]


def test_a_model_that_a_later_round_overtook_while_it_was_trained_is_not_decided_on(
    released: Store, tmp_path: Path
) -> None:
    later: list[str] = []

    def slow(folder: Path) -> object:  # for hours: meanwhile the next version is released, trained and promoted
        put_pairs(released, tmp_path, "second", range(12))
        tuned_round(released, tuned_recipe())
        later.extend(trained(released))
        return WordTrainer()(folder)

    lines = trained(released, slow)
    assert any("d@2: d-2-" in line and "is promoted over longer-wins" in line for line in later)
    assert "overtaken" in lines[-1]
    assert rows(released, "SELECT n, verdict, candidate <> '' FROM promotions JOIN rounds USING (round_id) ORDER BY n"
                ) == [(1, "undecided", False), (2, "promoted", True)]
    assert states(released) == []


def test_a_decision_that_came_while_a_model_was_measured_has_it_measured_again(
    released: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []

    def overtaking(turn: Turn) -> pl.DataFrame:
        decided = promotions(turn)
        looks.append(decided["n_looks"][0])
        if len(looks) == 1:  # an earlier round of the dataset, whose model took longer
            with released.write("test") as writer:
                row = pl.DataFrame([{"round_id": content_id("earlier"), "dataset": "d", "n": 0, "recipe": "{}",
                                     "recipe_fingerprint": content_id("none"), "as_of": 0, "budget_votes": 0,
                                     "opened_at": now()}])
                early = decided.with_columns(round_id=pl.lit(content_id("earlier")), candidate=pl.lit("other"))
                writer.append({"rounds": ROUNDS.complete(row), "promotions": early})
        return decided

    monkeypatch.setattr("flows.retraining.promotions", overtaking)
    trained(released)
    assert looks == [1, 2]
    assert rows(released, "SELECT n_looks FROM promotions WHERE candidate LIKE 'd-1-%'") == [(2,)]


def test_a_round_that_was_closed_while_its_model_was_measured_stays_closed(
    released: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closing(turn: Turn) -> pl.DataFrame:
        decided = promotions(turn)
        with released.write("test") as writer:
            writer.append({"promotions": no_candidate(turn.round_id, "abandoned by its owner")})
        return decided

    monkeypatch.setattr("flows.retraining.promotions", closing)
    assert "its round was closed" in trained(released)[-1]
    assert rows(released, "SELECT verdict, reason FROM promotions") == [("undecided", "abandoned by its owner")]
    assert rows(released, "SELECT count(*) FROM evaluations") == [(0,)]


def test_a_round_in_other_hands_does_not_keep_released_versions_from_their_models(
    released: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def held(*_: object, **__: object) -> None:
        raise LockHeldError("round-d.lock is held by pid 1")

    monkeypatch.setattr("flows.retraining._awaits_stage", lambda store, recipe: True)
    monkeypatch.setattr("flows.retraining.run_stage", held)
    with pytest.raises(LockHeldError):
        trained(released)
    assert rows(released, "SELECT verdict FROM promotions") == [("promoted",)]


def test_one_command_after_the_other_the_stage_is_said_before_the_training_and_the_gate_is_not_asked_twice(
    tmp_path: Path,
) -> None:
    store = new_store(tmp_path / "ws")
    put_pairs(store, tmp_path, "first", range(24))
    store.workspace.recipe.write_text(tuned_recipe().canonical())
    run_only(tuned_turn(store, tuned_recipe()), *list(STAGES)[: list(STAGES).index("retrain")])
    lines = trained(store)
    said = [i for what in ("is due for training", "is promoted") for i, line in enumerate(lines) if what in line]
    assert len(said) == 2
    assert said == sorted(said)
    run_only(tuned_turn(store, tuned_recipe()), "evaluate", "gate")
    assert rows(store, "SELECT verdict FROM promotions") == [("promoted",)]


def test_too_few_pairs_train_nothing_and_the_round_says_so(released: Store) -> None:
    with released.write("test") as writer:
        writer._connection.execute("UPDATE versions SET recipe = replace(recipe, 'pairs\":4', 'pairs\":400')")
    lines = trained(released, WordTrainer())
    assert "fewer than training.min_pairs = 400" in lines[0]
    assert rows(released, "SELECT verdict, candidate FROM promotions") == [("undecided", "")]


def test_nothing_new_is_nothing_due_and_the_round_closes_as_undecided(released: Store) -> None:
    trained(released)
    tuned_round(released, tuned_recipe())
    assert states(released) == []
    assert rows(released, "SELECT verdict FROM promotions ORDER BY decided_at") == [("promoted",), ("undecided",)]


def test_gold_that_the_trainer_could_not_read_is_a_coin_and_is_not_asked_for(released: Store) -> None:
    lines = trained(released, WordTrainer(unread="harsh"))
    assert any("could not read a side" in line for line in lines)
    assert rows(released, "SELECT value FROM evaluations WHERE metric = 'accuracy' AND model LIKE 'd-1-%'") == [(0.5,)]


def test_what_is_lacking_is_read_from_the_warehouse_alone(released: Store) -> None:
    (item,) = lacking(released, None)
    assert (item.version, item.newest_n, item.is_trained, item.n_failures) == ("d@1", 1, False, 0)
    assert lacking(released, "another") == []
