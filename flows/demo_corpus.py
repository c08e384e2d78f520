"""The demo on the project's own corpus: two recipes over one set of prompts; the gate accepts one model, refuses one.

`examples/corpus` holds prompts, four responses to each, and the author's vote on every pair. The votes are taken in
as recorded: nobody may buy them. They are the truth of the prompts held out for the gate, and what labels are
compared with at the end.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import polars as pl

from curate.adapters.files import read_source
from curate.adapters.simulated_corpus import TAGS, corpus_folder, corpus_questions, corpus_responses
from curate.importing.convert import convert
from flows import pages
from flows.demo_rounds import example, label_accuracy, run_missing_rounds
from flows.engines import engines_of
from flows.ingest import ingest
from flows.reporting import report
from flows.retrain import LONGER_WINS, RANDOM
from flows.rounds import Say
from flows.server import stop_server
from flows.settings import meter_path
from schemas.ids import content_id
from schemas.recipe import Recipe
from schemas.tables import PROMPT_TAGS, SOURCES
from warehouse.reader import Reader
from warehouse.store import Store
from warehouse.workspace import Workspace

SOURCE = "corpus"
HONEST = (
    "Who votes: programs check numbers, code, JSON, lengths, words and languages for real. Judges and annotators are "
    "simulated: their opinions are drawn from the author's truth with declared skill, order and length bias."
)


def run_corpus(root: Path, rounds: int, say: Say) -> None:
    """Run `corpus-refused.toml` for one round and `corpus.toml` for up to `rounds`, then show and explain both.

    The refused one goes first: people's votes count for every dataset that holds their pair, and it is to have none.
    """
    started = time.monotonic()
    refused, accepted = example("corpus-refused.toml"), example("corpus.toml")
    store = Store(_workspace(root, refused, accepted).root)
    say(HONEST)
    take_in(store, say)
    try:
        for recipe, n in ((refused, 1), (accepted, rounds)):
            run_missing_rounds(store, engines_of(recipe, meter_path()), recipe, n, say)
    finally:
        stop_server(store.workspace)
    say("\n" + report(store.workspace.root, None))
    for recipe in (accepted, refused):
        say(f"\n{recipe.dataset}: {label_accuracy(store, engines_of(recipe), recipe)}")
    say(f"\nIn words\n{explained(store.workspace.root)}")
    page = store.workspace.root / "report.html"
    pages.write(store.workspace.root, page, None, None)
    say(f"\nthe same with pictures, in a browser: {page}")
    say(f"workspace: {store.workspace.root}   {time.monotonic() - started:.0f} s")
    say(f"look further: tiebreak --workspace {store.workspace.root} sql 'SELECT * FROM round_summary'")


def _workspace(root: Path, *recipes: Recipe) -> Workspace:
    workspace = Workspace(root / f"demo-corpus-{content_id(*(r.fingerprint for r in recipes))[:8]}")
    workspace.create()
    return workspace


def take_in(store: Store, say: Say) -> None:
    """Append the corpus: its licence, texts, pairs, the author's votes as recorded, and tags for the verifiers."""
    source = {"source": SOURCE, "licence": "Apache-2.0", "may_redistribute": True}
    with store.write("ingest") as writer:
        writer.append({"sources": SOURCES.complete(pl.DataFrame([source]))})
    for line in ingest(store, str(corpus_folder()), name=SOURCE, is_recorded=True).lines():
        if "not read" not in line:  # tags are read below, qualities by nobody but the simulated voters
            say(line)
    with store.write("ingest") as writer:
        writer.append({"prompt_tags": corpus_tags()})
        writer.publish()


def corpus_tags() -> pl.DataFrame:
    """Frame `prompt_tags`: what verifiers look for. A prompt is found by its responses, whose texts are its own."""
    frames = convert(read_source(corpus_folder()), source=SOURCE).frames
    texts = frames["responses"].join(frames["texts"], on="text_id").select("prompt_id", response="text")
    prompts = corpus_responses().join(texts, on="response").select("question_id", "prompt_id").unique()
    questions = corpus_questions().unpivot(TAGS, index="question_id", variable_name="key").drop_nulls("value")
    tagged = questions.join(prompts, on="question_id").with_columns(tagger=pl.lit(SOURCE))
    return PROMPT_TAGS.complete(tagged.drop("question_id")).sort("prompt_id", "key")


def explained(root: Path) -> str:
    """Per gate decision on a candidate: what it reached where nothing was trained, and why the gate did what it did."""
    with Reader(root) as reader:
        return "\n".join(
            _told(name, row, reader.query("report_models", dataset=name))
            for name in reader.query("datasets")["dataset"]
            for row in reader.query("report_gate", dataset=name).filter(pl.col("candidate") != "").iter_rows(named=True)
        )


def _told(dataset: str, row: dict[str, Any], models: pl.DataFrame) -> str:
    reached = {name: (value, low, high) for name, value, low, high in models.select(
        "model", "value", "low", "high").iter_rows()}
    value, low, high = reached[row["candidate"]]
    against = "longer-wins" if row["incumbent"] == LONGER_WINS else "the model promoted before"
    bound = f"the difference is {row['d']:+.1%}, and at least {row['low']:+.1%} with 95 % confidence"
    ends = {
        "promoted": f"The gate accepts it: {bound}.",
        "refused": f"The gate refuses it, and nothing changes: {bound}, which is not above 0.",
        "undecided": f"The gate cannot tell: {row['reason']}.",
    }
    return (
        f"  {dataset}, round {row['round']}: the candidate is right on {value:.0%} [{low:.0%}, {high:.0%}] of"
        f" {row['pairs']} pairs of {row['groups']} prompts that no model was trained on; {against} on"
        f" {reached[row['incumbent']][0]:.0%}, random on {reached[RANDOM][0]:.0%}.\n    {ends[row['verdict']]}"
    )
