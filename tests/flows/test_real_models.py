"""From a file of prompts to candidates, pairs, lineage and votes, with real models served by vLLM on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from command_line import Said
from vllm_server import Server

from warehouse.reader import Reader

pytestmark = pytest.mark.service
PROMPTS = Path(__file__).resolve().parents[2] / "examples" / "prompts.jsonl"
N_PROMPTS = 6

RECIPE = """
dataset = "tiny"
sources = ["prompts"]

[[models]]
name = "writer"
model = "{writer}"
revision = "seed-1"
licence = "CC0-1.0"
may_redistribute = true

[[models]]
name = "ranker"
model = "{ranker}"

[synthesis]
responses_per_prompt = 4
pairs_per_prompt = 1
n_prompts = {n}
method = "best_of_n"
scorer = "ranker"

[[synthesis.policies]]
name = "plain"
model = "writer"
max_tokens = 24

[[synthesis.policies]]
name = "kind"
model = "writer"
system = "Be kind."
max_tokens = 24

[judging]
judges = ["writer"]
instrument = "pairwise-five@1"

[filtering]
method = "none"
"""
SETTINGS = """
[[endpoints]]
model = "{writer}"
url = "{writer_url}"
[[endpoints]]
model = "{ranker}"
url = "{ranker_url}"
[[prices]]
model = "{writer}"
usd_per_million_output_tokens = 10.0
"""


@pytest.fixture(scope="module")
def ran(generative_server: Server, reward_server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Said]:
    """What each command said, in the order of a newcomer's first hour; `workspace` is under "root"."""
    root = tmp_path_factory.mktemp("real") / "ws"
    names = {"writer": generative_server.model, "ranker": reward_server.model, "n": N_PROMPTS,
             "writer_url": generative_server.url, "ranker_url": reward_server.url}
    recipe = root.parent / "recipe.toml"
    recipe.write_text(RECIPE.format(**names))
    commands = {"init": ["init", "--recipe", str(recipe)], "ingest": ["ingest", str(PROMPTS)],
                "estimate": ["synthesize", "--dry-run", "--json"], "synthesize": ["synthesize"], "judge": ["judge"]}
    said = {"root": Said(0, str(root), "")}
    for name, command in commands.items():
        said[name] = run(root, command)
        (root / "settings.toml").write_text(SETTINGS.format(**names))
    return said


def run(root: Path, command: list[str]) -> Said:
    """One command in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "--workspace", str(root), *command], env=os.environ.copy(),
        capture_output=True, text=True, check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Said(done.returncode, done.stdout, done.stderr)


def rows(ran: dict[str, Said], query: str) -> pl.DataFrame:
    with Reader(Path(ran["root"].out)) as reader:
        return reader.sql(query)


def test_every_response_knows_its_prompt_policy_sampling_licence_and_likelihood(ran: dict[str, Said]) -> None:
    lineage = rows(ran, "FROM lineage")
    assert lineage["prompt_id"].n_unique() == N_PROMPTS
    assert lineage["policy"].n_unique() == 2
    assert lineage["licence"].unique().to_list() == ["CC0-1.0"]
    known = lineage.select("prompt", "response", "sampling", "logprob_sum", "n_tokens", "call_key")
    assert known.null_count().sum_horizontal().item() == 0
    assert (lineage["logprob_sum"] < 0).all()
    assert {json.loads(s)["max_tokens"] for s in lineage["sampling"]} == {24}


def test_what_makes_no_candidate_is_listed_with_its_reason(ran: dict[str, Said]) -> None:
    n_asked = rows(ran, "SELECT count(*) AS n FROM calls WHERE kind = 'generate'")["n"].item()
    n_responses = rows(ran, "SELECT count(*) AS n FROM responses")["n"].item()
    left_out = rows(ran, "SELECT reason, count(*) AS n FROM discards WHERE what = 'response' GROUP BY reason")
    assert n_asked == 4 * N_PROMPTS
    assert n_responses <= n_asked
    assert n_responses + left_out.filter(pl.col("reason") != "near_duplicate")["n"].sum() >= n_asked


def test_the_chosen_pair_of_each_prompt_holds_its_best_scored_response(ran: dict[str, Said]) -> None:
    pairs = rows(ran, """
        SELECT pair.prompt_id, pair.origin, greatest(a.score, b.score) AS better,
               (SELECT max(score.score) FROM scores AS score JOIN responses AS r USING (response_id)
                WHERE r.prompt_id = pair.prompt_id) AS best
        FROM pairs AS pair JOIN scores AS a ON a.response_id = pair.response_a
                           JOIN scores AS b ON b.response_id = pair.response_b""")
    assert pairs.height > 0
    assert set(pairs["origin"]) == {"best_of_n"}
    assert (pairs["better"] == pairs["best"]).all()


def test_the_judge_voted_in_both_orders_with_probabilities(ran: dict[str, Said]) -> None:
    votes = rows(ran, "SELECT pair_id, shown_first, p_a, p_tie, is_abstention, evidence FROM votes ORDER BY pair_id")
    n_pairs = rows(ran, "SELECT count(*) AS n FROM pairs")["n"].item()
    assert votes.height == 2 * n_pairs
    # Random weights may say "cannot judge", one of the instrument's answers; a failed call would be named beside it.
    reasons = votes.filter("is_abstention")["evidence"].fill_null("")
    assert not reasons.str.contains("finish_reason|unparsable").any()
    assert not votes["is_abstention"].all()
    assert set(votes["shown_first"]) == {"a", "b"}
    assert votes["p_a"].is_between(0.0, 1.0, closed="none").any()  # graded by the model's own probabilities


def test_the_ledger_accounts_for_every_call(ran: dict[str, Said]) -> None:
    ledger = rows(ran, "FROM ledger")
    assert {"generate", "score", "judge"} <= set(ledger["kind"])
    paid = ledger.filter(pl.col("kind") == "generate")
    assert paid["cost_usd"].item() == pytest.approx(paid["output_tokens"].item() * 10e-6)


def test_the_estimate_named_the_calls_that_were_made(ran: dict[str, Said]) -> None:
    estimate = ran["estimate"].json
    assert isinstance(estimate, list)
    assert estimate[0]["to make"] == 4 * N_PROMPTS
