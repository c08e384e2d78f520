"""The whole way with real programs: a round, TRL on this CPU, vLLM, the gate, votes in the next round, a refusal.

Two trainings, each followed by vLLM in process, and one server: most of the time goes into imports.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import polars as pl
import pytest
from small_rounds import new_store
from small_trainings import rows, tuned_recipe, tuned_round
from tiny_models import ROOT, ask_transformers
from training_orders import BAD, BASE, GOOD, make_base

from flows.ingest import ingest
from flows.reaching import living_note, read_note
from flows.retraining import due, retrain
from flows.settings import serving_settings
from flows.trained import Trained, trained_from
from schemas.recipe import Recipe
from warehouse.lock import holder
from warehouse.reader import Reader
from warehouse.store import Store

pytestmark = pytest.mark.service
PATIENCE_S = 900.0
LEARNING = {"method": "full", "epochs": 2.0, "batch_size": 8, "learning_rate": 1e-3, "max_length": 64,
            "dtype": "float32", "validation_share": 0.2, "base": BASE}


@dataclass
class Story:
    """One workspace and what was seen on its way."""

    store: Store
    said: dict[str, list[str]]
    rewards: pl.DataFrame
    """response_id, messages, recorded, served, transformers: of the first model, on some of gate gold"""


def recipe(**tuning: object) -> Recipe:
    gate = {"min_groups": 10, "min_pairs": 20, "confidence": 0.95}
    return tuned_recipe(training={"engine": "trl", "trl": {**LEARNING, **tuning}}, gate=gate)


def put(store: Store, folder: Path, name: str, n: int) -> None:
    """Pairs that a tiny model learns: good words against bad ones, none longer than the other by rule."""
    def answer(words: tuple[str, ...], i: int) -> str:
        return " ".join(words[(i + at * (1 + i // 3)) % 3] for at in range(4 + i % 2))

    sides = [{"pair_id": f"{name}{i}", "prompt": f"{name} question {i}", "response_a": answer(GOOD, i),
              "response_b": answer(BAD, i + 1)} for i in range(n)]
    said = [{"pair_id": f"{name}{i}", "annotator": f"p{v}", "vote": "a"} for i in range(n) for v in range(3)]
    (folder / name).mkdir(parents=True)
    for file, lines in (("pairs.jsonl", sides), ("annotations.jsonl", said)):
        (folder / name / file).write_text("\n".join(json.dumps(line) for line in lines))
    ingest(store, str(folder / name))


def write_settings(store: Store, inference: Path, base: Path) -> None:
    (store.workspace.root / "settings.toml").write_text(
        f'inference_python = "{inference}"\n[training]\nbases = [{{base = "{BASE}", folder = "{base}"}}]\n')


@contextlib.contextmanager
def served(store: Store, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`tiebreak serve-rm` of the promoted model, from when its note is there."""
    command = [sys.executable, "-m", "flows.cli", "--workspace", str(store.workspace.root), "serve-rm"]
    with log.open("wb") as written:
        process = subprocess.Popen(command, cwd=ROOT, stdout=written, stderr=written, start_new_session=True)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while read_note(store.workspace, promoted(store).name) is None:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.5)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)
        process.wait(60)


def promoted(store: Store) -> Trained:
    with store.write("test") as writer:
        return trained_from(writer.query("incumbent", dataset="d").row(0, named=True))


def compared(store: Store, inference: Path, n: int = 6) -> pl.DataFrame:
    """Recorded rewards of gate gold beside what the server and transformers say of the same conversations."""
    model = promoted(store)
    note = living_note(store.workspace, model.name, model.sha256)
    assert note is not None
    recorded = pl.DataFrame(rows(store, f"""SELECT response_id::VARCHAR, score FROM scores
        WHERE model = '{model.name}' ORDER BY ALL LIMIT {n}"""), orient="row", schema=["response_id", "recorded"])
    folder = store.workspace.orders / model.name
    told = recorded.join(pl.read_parquet(folder / "measure.parquet"), on="response_id")
    conversations = [json.loads(messages) for messages in told["messages"]]
    answers = [httpx.post(f"{note.url.removesuffix('/v1')}/classify", timeout=60, json={
        "model": model.voter, "messages": turns, "use_activation": False}).json() for turns in conversations]
    said = ask_transformers(inference, [
        {"ask": "reward", "model": str(folder / "model"), "messages": turns} for turns in conversations])
    return told.with_columns(
        served=pl.Series([answer["data"][0]["probs"][0] for answer in answers]), transformers=pl.Series(said))


@pytest.fixture(scope="module")
def story(inference: Path, tmp_path_factory: pytest.TempPathFactory) -> Story:
    folder = tmp_path_factory.mktemp("whole")
    store, said = new_store(folder / "ws"), {name: list[str]() for name in ("one", "first", "two", "second")}
    write_settings(store, inference, make_base(inference, folder / "base"))
    store.workspace.recipe.write_text(recipe().canonical())
    put(store, folder, "early", 110)
    tuned_round(store, recipe(), said["one"].append)
    retrain(store.workspace.root, None, say=said["first"].append)
    with served(store, folder / "serve.log") as process:
        rewards = compared(store, inference)
        put(store, folder, "late", 30)
        # Next to nothing: one step at a rate that moves no weight.
        tuned_round(store, recipe(epochs=0.01, learning_rate=1e-12), said["two"].append,
                    serving_settings(store.workspace))
        retrain(store.workspace.root, None, say=said["second"].append)
    said["serve"] = [(folder / "serve.log").read_text(), str(process.returncode)]
    return Story(store, said, rewards)


def test_the_round_ends_without_a_training_and_the_training_promotes_over_longer_wins(story: Story) -> None:
    assert any("d@1 is due for training" in line for line in story.said["one"])
    assert "is promoted over longer-wins: better" in story.said["first"][-1]
    with Reader(story.store.workspace.root) as reader:
        assert reader.sql("SELECT kind, base FROM models").rows() == [("trl", BASE)] * 2
        assert reader.sql("SELECT n, state, verdict FROM round_summary").rows() == [
            (1, "closed", "promoted"), (2, "closed", "refused")]


def test_rewards_served_by_vllm_equal_transformers_and_what_was_recorded_to_three_decimals(story: Story) -> None:
    assert story.rewards.height == 6
    assert story.rewards["recorded"].n_unique() > 1
    for name in ("served", "recorded"):
        assert story.rewards[name].to_list() == pytest.approx(story.rewards["transformers"].to_list(), abs=5e-4)


def test_the_promoted_model_votes_in_the_next_round_on_pairs_of_other_groups_only(story: Story) -> None:
    votes = rows(story.store, """SELECT pairs.source, vote.p_a FROM votes AS vote JOIN pairs USING (pair_id)
                                 WHERE vote.voter LIKE 'rm/d-1-%'""")
    assert votes
    assert {source for source, _ in votes} == {"late"}
    kept = rows(story.store, "SELECT count(*) FROM calls WHERE kind = 'score' AND voter LIKE 'rm/d-1-%'")
    assert kept[0][0] > 0  # type: ignore[operator]
    agreed = rows(story.store, """SELECT avg(((vote.p_a > 0.5) = (person.p_a > 0.5))::INTEGER)
        FROM votes AS vote JOIN votes AS person USING (pair_id)
        WHERE vote.voter LIKE 'rm/d-1-%' AND person.voter NOT LIKE 'rm/%'""")
    assert agreed[0][0] > 0.9  # type: ignore[operator]


def test_a_candidate_trained_for_next_to_nothing_is_refused_and_the_incumbent_stays(story: Story) -> None:
    assert "is refused over d-1-" in story.said["second"][-1]
    assert promoted(story.store).n == 1
    assert due(story.store.workspace.root, None) == []


def test_a_stopped_server_leaves_no_note_no_lock_and_no_process(story: Story) -> None:
    told, code = story.said["serve"]
    assert code == "0"
    assert "rewards equal those recorded" in told
    model = promoted(story.store).name
    assert read_note(story.store.workspace, model) is None
    assert holder(story.store.workspace.serving / f"{model}.lock") is None
    assert not [path for path in Path("/proc").glob("[0-9]*/cmdline") if mentions(path, f"rm/{model}")]


def mentions(cmdline: Path, word: str) -> bool:
    try:
        return word.encode() in cmdline.read_bytes()
    except OSError:
        return False
