"""Which prompts are asked: in scope, never the gate's, each once, balanced, and new ones after their manner."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from served_models import ServedModels, prose, served_turn, stored
from small_rounds import run_only
from small_rows import world

from curate.engines import CallReply, CallRequest
from flows.ingest import ingest
from flows.rounds import abandon_round
from schemas.recipe import parse_recipe
from schemas.settings import parse_settings
from schemas.tables import GOLD
from warehouse.store import Store

pytestmark = [pytest.mark.usefixtures("unpublished"), pytest.mark.service]


def put_prompts(
    store: Store, folder: Path, n: int = 4, *, name: str = "prompts", is_reversed: bool = False, **columns: object
) -> None:
    """Ingest `n` prompts, the same for every `n` as far as they go."""
    rows = [{"prompt": f"Question {i}: {prose(name, i)}", **columns} for i in range(n)]
    file = folder / f"{name}.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in (rows[::-1] if is_reversed else rows)))
    ingest(store, str(file))


def questions(served: ServedModels) -> set[str]:
    """What policies were asked, last message of each."""
    return {json.loads(r.messages)[-1]["content"] for r in served.asked if r.instrument == "answer@1"}


def test_only_prompts_of_the_recipe_s_sources_are_asked(store: Store, tmp_path: Path) -> None:
    put_prompts(store, tmp_path, n=2)
    put_prompts(store, tmp_path, n=3, name="others")
    served = ServedModels()
    run_only(served_turn(store, served, sources=["others"]), "synthesize")
    assert len(questions(served)) == 3
    assert stored(store, "pairs")["source"].unique().to_list() == ["others"]


def test_a_prompt_of_the_gate_s_groups_is_never_asked(store: Store) -> None:
    frames = world(3)
    pair = frames["pairs"].filter(pl.col("prompt_id") == frames["prompts"]["prompt_id"][0])
    gold = pair.select("pair_id", "source", criterion=pl.lit("overall"), p_a=pl.lit(1.0), p_tie=pl.lit(0.0),
                       why=pl.lit("known"), use=pl.lit("gate"))
    with store.write("test") as writer:
        writer.append({**frames, "gold": GOLD.complete(gold)})
    served = ServedModels()
    run_only(served_turn(store, served, writer="writer", n_grown=5), "synthesize")
    assert {"question 1", "question 2"} <= questions(served)
    assert all("question 0" not in request.messages for request in served.asked)


def test_a_near_equal_prompt_is_asked_once_and_the_other_has_its_reason(store: Store, tmp_path: Path) -> None:
    text = "Explain to a child why the sea is salty and why rivers are not salty at all"
    file = tmp_path / "prompts.jsonl"
    file.write_text("\n".join(json.dumps({"prompt": t}) for t in (text, text.upper() + "?", "Name a river.")))
    ingest(store, str(file))
    served = ServedModels()
    run_only(served_turn(store, served), "synthesize")
    assert len(questions(served)) == 2
    assert stored(store, "discards").select("what", "reason").rows() == [("prompt", "near_duplicate")]


def test_a_round_asks_so_many_prompts_as_it_may_by_their_shares_and_the_next_goes_on(
    store: Store, tmp_path: Path
) -> None:
    put_prompts(store, tmp_path, n=6, name="maths", category="maths")
    put_prompts(store, tmp_path, n=6, name="poems", category="poems")
    quotas = {"n_prompts": 4, "quotas": {"maths": 0.75, "poems": 0.25}}
    lines: list[str] = []
    first, second = ServedModels(), ServedModels()
    run_only(served_turn(store, first, lines.append, **quotas), "synthesize")
    assert any("maths: 3 of 6 prompts (75% of the round, 3 wanted)" in line for line in lines)
    abandon_round(store, "d")
    run_only(served_turn(store, second, **quotas), "synthesize")
    assert len(questions(first)) == len(questions(second)) == 4
    assert not questions(first) & questions(second)
    assert stored(store, "discards").is_empty()


def test_grown_prompts_have_a_source_and_a_group_of_their_own_and_are_answered(store: Store, tmp_path: Path) -> None:
    put_prompts(store, tmp_path, n=3, category="open")
    served = ServedModels()
    run_only(served_turn(store, served, writer="writer", n_grown=4, sources=["prompts"]), "synthesize")
    prompts = stored(store, "prompts").filter(pl.col("source") == "d+grown")
    assert prompts.height == prompts["group_id"].n_unique() == 4
    assert prompts["category"].unique().to_list() == ["open"]
    assert stored(store, "sources").filter(pl.col("source") == "d+grown").select("licence", "revision").rows() == [
        ("Apache-2.0", "served/writer@1")]
    assert len(questions(served)) == 7
    assert stored(store, "pairs").filter(pl.col("source") == "d+grown").height == 4
    assert stored(store, "instruments").select("instrument", "version").rows() == [("grow", "1")]


def test_a_grown_prompt_that_is_near_a_stored_one_or_empty_is_left_out_with_its_reason(
    store: Store, tmp_path: Path
) -> None:
    def copies(request: CallRequest) -> str:
        known = json.loads(json.loads(request.messages)[-1]["content"])["examples"]
        return json.dumps({"prompts": [known[0].upper(), "  ", known[0] + " !", "Something else entirely, please?"]})

    put_prompts(store, tmp_path, n=2)
    run_only(served_turn(store, ServedModels(writer=copies), writer="writer", n_grown=4), "synthesize")
    assert stored(store, "prompts").filter(pl.col("source") == "d+grown").height == 1
    reasons = stored(store, "discards").filter(pl.col("what") == "prompt")["reason"]
    assert sorted(reasons) == ["empty", "near_duplicate", "near_duplicate"]


@pytest.mark.parametrize("reply", ["no JSON", '{"prompts": 3}', '{"prompts": []}', '{"texts": ["x"]}', "length"])
def test_a_writer_that_gives_no_prompts_grows_none(store: Store, tmp_path: Path, reply: str) -> None:
    def said(request: CallRequest) -> CallReply:
        return CallReply(request.call_key, reply, "length" if reply == "length" else "stop")

    put_prompts(store, tmp_path, n=2)
    run_only(served_turn(store, ServedModels(writer=said), writer="writer", n_grown=2), "synthesize")
    assert stored(store, "prompts").height == 2
    assert stored(store, "discards").filter(pl.col("what") == "prompt")["reason"].to_list() == [
        "length" if reply == "length" else "no_prompts"]


def test_nothing_to_ask_is_no_error(store: Store) -> None:
    served = ServedModels()
    run_only(served_turn(store, served), "synthesize")
    assert served.asked == []
    assert stored(store, "pairs").is_empty()


EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def test_the_example_recipe_names_models_that_the_example_settings_serve() -> None:
    recipe = parse_recipe((EXAMPLES / "synthesize.toml").read_text())
    settings = parse_settings((EXAMPLES / "settings.toml").read_text())
    assert [m.model for m in recipe.models if not settings.endpoints_of(m.model)] == []


def test_the_example_prompts_are_forty_and_more_no_two_alike_and_answered(store: Store) -> None:
    ingest(store, str(EXAMPLES / "prompts.jsonl"))
    run_only(served_turn(store, ServedModels(), sources=["prompts"]), "synthesize")
    assert stored(store, "prompts").height >= 40
    assert stored(store, "discards").is_empty()
    assert stored(store, "pairs").height == stored(store, "prompts").height
