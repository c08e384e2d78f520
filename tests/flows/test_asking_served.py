"""What is asked of served judges, and what stops before it is: seeds, verifiers, keys, interrupts, estimates."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

import polars as pl
import pytest
from command_line import Tiebreak, in_process
from served_models import ServedModels
from small_rounds import new_store, run_only
from small_rows import world

from bench._scripted import ScriptedServer
from curate.adapters.trainer import EmbeddedTrainer
from curate.engines import CallReply, CallRequest
from flows import calling
from flows.calling import make_calls, thread_fan_out
from flows.engines import Engines
from flows.estimating import judging_estimate, not_estimated
from flows.rounds import Turn, open_round
from schemas.errors import RecipeError
from schemas.recipe import parse_recipe
from schemas.settings import parse_settings
from schemas.tables import VOTERS
from warehouse.reader import Reader
from warehouse.store import Store

pytestmark = pytest.mark.service


class Judges(ServedModels):
    """Served models of which j is a judge."""

    def voters(self) -> pl.DataFrame:
        return VOTERS.complete(pl.DataFrame([{"voter": "j", "kind": "judge", "family": "j", "cost_usd": 0.0}]))


@pytest.fixture
def filled(tmp_path: Path) -> Store:
    store = new_store(tmp_path / "ws")
    with store.write("test") as writer:
        writer.append(world(3))
    return store


@pytest.fixture
def tiebreak(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tiebreak:
    return in_process(capsys, monkeypatch)


def recipe_text(*, seed: int = 0, **judging: object) -> str:
    models = [{"name": n, "model": f"org/{n}", "revision": "1"} for n in ("j", "w")]
    return json.dumps({"dataset": "d", "seed": seed, "models": models, "filtering": {"method": "none"},
                       "judging": {"judges": ["j"], **judging}})


def turn_of(store: Store, served: ServedModels, **fields: object) -> Turn:
    recipe = parse_recipe(recipe_text(**fields))  # type: ignore[arg-type]
    engines = Engines(generate=None, judge=None, train=EmbeddedTrainer(), world=None, recipe=recipe, serve=served)
    return open_round(store, engines, recipe, thread_fan_out(2), lambda line: None)


def always(verdict: str) -> Judges:
    return Judges(judge=lambda request: verdict)


def test_each_sample_of_a_question_has_a_seed_of_its_own(filled: Store) -> None:
    served = always("1")
    run_only(turn_of(filled, served, n_samples=3, temperature=0.8, seed=40), "judge")
    asked: dict[str, list[object]] = {}
    for request in served.asked:
        asked.setdefault(request.messages, []).append(request.parameters["seed"])
    assert len(asked) == 6
    assert all(sorted(map(str, seeds)) == ["40", "41", "42"] for seeds in asked.values())


@pytest.mark.parametrize(("temperature", "n_asked"), [(0.0, 6), (0.5, 12)])
def test_another_seed_asks_anew_where_answers_are_sampled(filled: Store, temperature: float, n_asked: int) -> None:
    served = always("1")
    run_only(turn_of(filled, served, temperature=temperature), "judge", "settle", "release", "gate")
    run_only(turn_of(filled, served, temperature=temperature, seed=1), "judge")
    assert len(served.asked) == n_asked


def test_a_verifier_that_there_is_not_is_told_of_before_anybody_is_asked(filled: Store) -> None:
    served = always("1")
    with pytest.raises(RecipeError, match="lenght"):
        turn_of(filled, served, verifiers=["lenght:max_words=3"])
    with filled.write("test") as writer:
        assert writer.query("open_round", dataset="d").height == 0


@pytest.mark.parametrize("key", ["sk-PLANTED", "hf_PLANTEDabc"])
def test_a_key_in_place_of_its_name_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(RecipeError, match=r"endpoints\.0\.key") as refusal:
        parse_settings(f'[[endpoints]]\nmodel = "m"\nurl = "http://h/v1"\nkey = "{key}"\n')
    assert "PLANTED" not in str(refusal.value)


@pytest.mark.parametrize("judging", [
    {"rate": ["helpfulness"]}, {"aid": "checklist", "aid_model": "w", "instrument": "pairwise-checklist@1"},
    {"aid": "reference", "aid_model": "w", "instrument": "pairwise-reference@1"},
])
def test_an_estimate_counts_ballots_and_names_what_comes_on_top(filled: Store, judging: dict[str, object]) -> None:
    turn = turn_of(filled, always("1"), **judging)
    (row,) = judging_estimate(turn)
    assert (row["calls"], row["to make"], row["output tokens at most"]) == (6, 6, 12)
    assert not_estimated(turn) == (["ratings"] if "rate" in judging else [f"writing each {judging['aid']}"])


def test_an_instrument_that_shows_an_aid_needs_one_in_the_recipe(filled: Store) -> None:
    with pytest.raises(RecipeError, match=r"judging\.aid = \"reference\""):
        run_only(turn_of(filled, always("1"), instrument="pairwise-reference@1"), "judge")


def test_what_was_answered_before_a_failure_can_be_read_at_once(filled: Store, tiebreak: Tiebreak) -> None:
    filled.workspace.recipe.write_text(recipe_text())
    price = '[[prices]]\nmodel = "org/j"\nusd_per_million_prompt_tokens = 1000.0\n'
    with ScriptedServer("org/j") as server:
        filled.workspace.settings.write_text(
            f'spend_usd_per_round = 2.0\n[[endpoints]]\nmodel = "org/j"\nurl = "{server.url}"\n{price}')
        assert tiebreak(filled, "synthesize").code == 0
        stopped = tiebreak(filled, "judge")
    assert stopped.code == 2
    assert "spend_usd_per_round" in stopped.err
    with Reader(filled.workspace.root) as reader:
        ledger = reader.sql("SELECT n_calls, cost_usd FROM ledger WHERE kind = 'judge'")
    assert 0 < ledger["n_calls"].item() < 6
    assert 0 < ledger["cost_usd"].item() <= 2.0


def test_after_an_interrupt_nothing_more_is_asked(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, has_begun = list[str](), threading.Event()

    def ask(requests: Sequence[CallRequest]) -> Iterator[CallReply]:
        for request in requests:
            asked.append(request.call_key)
            has_begun.set()
            is_over.wait(0.01)
            yield CallReply(request.call_key, "1")

    is_over = threading.Event()

    def interrupted(futures: Sequence[Future[int]]) -> None:
        has_begun.wait(5)
        raise KeyboardInterrupt

    monkeypatch.setattr(calling, "wait", interrupted)
    requests = [CallRequest(f"00000000-0000-0000-0000-{i:012}", "j", "{}", "p") for i in range(640)]
    with pytest.raises(KeyboardInterrupt):
        make_calls(filled, ask, requests, kind="judge", round_id=None, fan_out=thread_fan_out(2))
    is_over.set()
    workers = [t for t in threading.enumerate() if t.name.startswith("ThreadPoolExecutor")]
    for worker in workers:
        worker.join(10)
    assert len(asked) < 64
