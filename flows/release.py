"""Release: settle the votes into labels, release a version when they changed, export it for training."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as distribution_version
from pathlib import Path

import polars as pl

from curate.consensus.adjudication import adjudicated
from curate.consensus.folding import fold_orders
from curate.consensus.labels import labels_from
from curate.consensus.opinions import Consensus, unlabelled
from curate.filtering.strength import preference_strength
from curate.filtering.treatments import treat
from curate.rewards.crossfit import cross_fit
from curate.verifying.votes import veto
from flows.consensus import consensus_of, read_as_told, with_calibration
from flows.counting import counted_votes, final_votes
from flows.examining import as_of
from flows.exporting import write_training_folder
from flows.rounds import Turn, now
from flows.verifiers import vetoed
from schemas.tables import COMPARISONS, LABEL_SETS, LABELS, VERSIONS, VOTER_FITS
from warehouse.store import Writer
from warehouse.versions import base_rows, label_set_fingerprint, settle_labels


def settle(turn: Turn) -> int:
    """Consensus over all current votes, then the filter: labels where they differ from the parent version."""
    with turn.store.write("settle") as writer:
        as_of = int(writer.query("last_seq").item())
        votes = turn.current_votes(writer, as_of)
        ground = ground_of(turn, writer, votes)
    consensus, labels = settled(turn, ground)
    with turn.store.write("settle") as writer:
        return _record_labels(turn, writer, labels, consensus, as_of)


def calibrate_gold(turn: Turn, writer: Writer) -> pl.DataFrame:
    """Calibrate gold in the recipe's scope; no rows where the recipe calibrates nothing."""
    gold = writer.query("calibrate_gold", criterion=turn.recipe.criterion, sources=turn.sources)
    return gold if turn.recipe.judging.calibration != "none" else gold.clear()


@dataclass(frozen=True)
class Ground:
    """Everything that a settling reads."""

    votes: pl.DataFrame
    """current votes of the panel and of people, less those that the recipe's `people.quality` leaves out"""
    voters: pl.DataFrame
    gold: pl.DataFrame
    """calibrate gold"""
    scope: pl.DataFrame
    texts: pl.DataFrame
    pairs: pl.DataFrame
    """(pair_id, response_a, response_b) of the scope"""
    finals: pl.DataFrame
    """(pair_id, p_a, p_tie) of experts' votes on what was left open"""


def ground_of(turn: Turn, writer: Writer, votes: pl.DataFrame, moment: dt.datetime | None = None) -> Ground:
    """What a settling of the given current votes reads; gold that came after `moment` is left out."""
    voters = writer.query("all_voters")
    scope = writer.query("scope_pairs", sources=turn.sources)
    counting = counted_votes(turn, writer, votes, voters, moment=moment)
    return Ground(
        counting, voters, as_of(calibrate_gold(turn, writer), "added_at", moment), scope,
        writer.query("pair_texts", {"wanted": scope}),
        writer.query("pair_responses", {"wanted": scope}), final_votes(turn, writer, counting),
    )


def settled(turn: Turn, ground: Ground) -> tuple[Consensus, pl.DataFrame]:
    """Consensus and filtered labels: the pure middle of `settle`, also what `verify` repeats."""
    recipe, voters = turn.recipe, ground.voters
    told, fits = read_as_told(ground.votes, voters, ground.gold, ground.texts, recipe.judging)
    evidence = fold_orders(told, voters, recipe.judging.margin)
    consensus = consensus_of(evidence, recipe.consensus.method, votes=told, voters=voters, pairs=ground.pairs)
    consensus = replace(consensus, voter_fits=with_calibration(consensus.voter_fits, fits))
    identical = ground.scope.filter("is_identical")["pair_id"]
    barred = vetoed(turn, ground.votes)
    labels = veto(labels_from(consensus.posteriors, recipe.consensus, recipe.filtering, identical), barred)
    if recipe.filtering.method != "none":
        labels = treat(labels, _strengths(turn, labels, ground.texts), consensus.posteriors, recipe.filtering)
    labels = veto(adjudicated(labels, ground.finals, recipe.filtering), barred)
    return consensus, pl.concat([labels, _without_opinion(labels, evidence, ground.scope)]).sort("pair_id")


def release(turn: Turn) -> int:
    """A new version when recipe or content differ from the parent's; otherwise none, and it says so."""
    with turn.store.write("release") as writer:
        row = writer.query("label_set_of_round", round_id=turn.round_id).row(0, named=True)
        newest = writer.query("versions_of", dataset=turn.recipe.dataset).tail(1)
        made = label_set_fingerprint(writer, turn.recipe.dataset, turn.parent_n, row["label_set"])
        if newest.height and _is_same(newest.row(0, named=True), made.root, turn):
            turn.say(f"nothing changed since {turn.recipe.dataset}@{newest['n'][0]}: no new version")
            return turn.finish(writer, "release", 0, {})
        version = _version_row(turn, writer, row, made.root, made.n_pairs)
        base = base_rows(writer, turn.recipe.dataset, int(version["n"][0]), row["label_set"])
        return turn.finish(writer, "release", made.n_pairs, {"versions": version, "version_bases": base})


def export(turn: Turn) -> int:
    """The newest version as a training folder; kept pairs only, no group of the gate's gold."""
    with turn.store.write("export") as writer:
        newest = writer.query("versions_of", dataset=turn.recipe.dataset).tail(1)
        n = int(newest["n"][0]) if newest.height else 0
        members = writer.query("version_members", dataset=turn.recipe.dataset, n=n)
        writer.check()
        n_rows = write_training_folder(turn.store.workspace, turn.recipe.dataset, n, members)
        return turn.finish(writer, "export", n_rows, {})


def _without_opinion(labels: pl.DataFrame, evidence: pl.DataFrame, scope: pl.DataFrame) -> pl.DataFrame:
    """Dropped labels of the pairs that no voter has an opinion on: nothing in scope is lost silently.

    p is flat, in the nearest steps of 1/200 that treat a and b alike.
    """
    silent = unlabelled(evidence).select("pair_id", "reason")
    rest = scope.select("pair_id").join(labels, on="pair_id", how="anti").join(silent, on="pair_id", how="left")
    flat = {"p_a": 0.33, "p_tie": 0.34, "p_sd": 0.41, "strength": 0.0, "n_votes": 0, "action": "drop", "weight": 0.0}
    rows = rest.with_columns(pl.col("reason").fill_null("no_votes"), *(pl.lit(v).alias(k) for k, v in flat.items()))
    return LABELS.complete(rows.with_columns(label_set=pl.lit(""))).select(labels.columns)


def _strengths(turn: Turn, labels: pl.DataFrame, texts: pl.DataFrame) -> pl.DataFrame:
    """Preference strength of kept labels by scorers that are cross-fitted on those labels."""
    kept = labels.filter(pl.col("action") == "keep")
    comparisons = COMPARISONS.complete(
        texts.join(kept.select("pair_id", "p_a", "p_tie", "weight"), on="pair_id").sort("pair_id")
    )
    if comparisons.height < turn.recipe.training.min_pairs:
        return pl.DataFrame(schema={"pair_id": pl.String, "u": pl.Float64, "s": pl.Float64})
    return preference_strength(cross_fit(comparisons, turn.recipe.training), labels)


def _record_labels(turn: Turn, writer: Writer, labels: pl.DataFrame, consensus: Consensus, as_of: int) -> int:
    delta = settle_labels(writer, labels, turn.recipe.dataset, turn.parent_n, turn.round_id)
    label_set = delta.label_set
    fits = consensus.voter_fits.with_columns(label_set=pl.lit(label_set))
    row = LABEL_SETS.complete(pl.DataFrame([{
        "label_set": label_set, "dataset": turn.recipe.dataset, "parent": _parent(turn, writer), "as_of": as_of,
        "recipe_fingerprint": turn.recipe.fingerprint, "round_id": turn.round_id, "settled_at": now(),
    }], schema_overrides={"parent": pl.String}))
    frames = {"labels": delta.labels, "label_sets": row, "voter_fits": VOTER_FITS.complete(fits)}
    return turn.finish(writer, "settle", delta.labels.height, frames)


def _parent(turn: Turn, writer: Writer) -> str | None:
    """Label set of the parent version."""
    versions = writer.query("versions_of", dataset=turn.recipe.dataset).filter(pl.col("n") == turn.parent_n)
    return str(versions["label_set"][0]) if versions.height else None


def _is_same(newest: dict[str, object], fingerprint: str, turn: Turn) -> bool:
    return newest["fingerprint"] == fingerprint and newest["recipe_fingerprint"] == turn.recipe.fingerprint


def _version_row(
    turn: Turn, writer: Writer, settled_row: dict[str, object], fingerprint: str, n_pairs: int
) -> pl.DataFrame:
    counts = writer.query(
        "version_counts", dataset=turn.recipe.dataset, parent_n=turn.parent_n, label_set=settled_row["label_set"]
    )
    shown = {f"{action}: {reason}" if reason else action: n for action, reason, n in counts.iter_rows()}
    return VERSIONS.complete(pl.DataFrame([{
        "dataset": turn.recipe.dataset, "n": turn.parent_n + 1, "parent_n": turn.parent_n or None,
        "label_set": settled_row["label_set"], "round_id": turn.round_id,
        "recipe_fingerprint": turn.recipe.fingerprint, "recipe": turn.recipe.canonical(),
        "as_of": settled_row["as_of"], "n_pairs": n_pairs, "counts": json.dumps(shown), "fingerprint": fingerprint,
        "code_commit": code_commit(), "released_at": now(),
    }], schema_overrides={"parent_n": pl.Int64}))


@cache
def code_commit() -> str:
    """Commit of a checkout, else the distribution's version. Stored beside a version, part of no id."""
    here = Path(__file__)
    try:
        # An installed copy inside another project's checkout must not be taken for that project's commit.
        is_ours = _git("ls-files", "--error-unmatch", here.name, cwd=here.parent)
        commit = _git("rev-parse", "HEAD", cwd=here.parent) if is_ours else ""
        return commit or distribution_version("tiebreak")
    except (OSError, subprocess.TimeoutExpired, PackageNotFoundError):
        return "unknown"


def _git(*arguments: str, cwd: Path) -> str:
    said = subprocess.run(["git", *arguments], cwd=cwd, capture_output=True, text=True, timeout=5)
    return said.stdout.strip() if said.returncode == 0 else ""
