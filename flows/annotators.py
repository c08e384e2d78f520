"""Annotators: what each of them does how well, what is paid for which hours, and a page for each of them to read."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from curate.annotating.feedback import feedback_page, missed_gold
from curate.annotating.findings import failing_gold, findings
from curate.annotating.marks import ANSWERED
from curate.annotating.profiles import PROFILES, pay, profiles
from curate.annotating.requeue import doubted, requeue
from curate.consensus.agreement import krippendorff_alpha
from schemas.errors import RefusedError
from schemas.ids import content_id
from schemas.people import Quality
from schemas.recipe import parse_recipe
from schemas.tables import EVIDENCE
from warehouse.reader import Reader
from warehouse.store import Writer
from warehouse.workspace import Workspace, replace_text

Facts = dict[str, object]
CARD = (
    "n_gold", "gold_accuracy", "agreement", "anchoring", "drift", "cannot_judge_share", "skip_share", "seconds_median",
    "fast_share", "hours", "usd_per_hour",
)
"""columns of profiles that a card adds to what every voter's card has"""
_EXAMINED = "calibration_temperature"  # from here on a voter's card is about examinations, and people sit none


def answers_of(warehouse: Reader | Writer) -> pl.DataFrame:
    """Every current answer of a person: columns ANSWERED."""
    rows = warehouse.query("people_answers")
    return rows.select(pl.col(name).cast(kind) for name, kind in ANSWERED.items())


def annotators(root: Path, *, is_whole: bool = False) -> pl.DataFrame:
    """One row per annotator: the voter's card, CARD, and `found`, what stands out (see `findings`), in words.

    `is_whole`: with every column of the profile, intervals and counts too. Shares are null under ten answers. Someone
    whose gold is below the recipe's `min_gold_accuracy` is found too.
    """
    quality = _quality(root)
    with Reader(root) as reader:
        cards, answers = reader.query("voter_cards", kind="human"), answers_of(reader)
        profiled = profiles(answers, reader.query("people_fits"), min_seconds=quality.min_seconds)
    told = pl.concat([
        failing_gold(answers, quality.min_gold_accuracy).select("voter", finding=pl.lit("fails_gold")),
        findings(profiled).select("voter", "finding"),
    ]).group_by("voter", maintain_order=True).agg(pl.col("finding").str.join(", ").alias("found"))
    kept = cards.drop(cards.columns[cards.columns.index(_EXAMINED):])
    added = [name for name in PROFILES if name not in kept.columns] if is_whole else CARD
    return kept.join(profiled.select("voter", *added), on="voter", how="left", maintain_order="left").join(
        told, on="voter", how="left", maintain_order="left")


def asked_again(warehouse: Reader | Writer, quality: Quality) -> pl.DataFrame:
    """Columns REQUEUE: the pairs that another person, or an expert, is to be asked about, each with the reason.

    Whoever fails gold by `quality`, drifts, or votes against the others or like chance is doubted (`findings`).
    """
    answers = answers_of(warehouse)
    found = findings(profiles(answers, min_seconds=quality.min_seconds))
    doubts = doubted(found, failing_gold(answers, quality.min_gold_accuracy))
    waiting = warehouse.query("people_open_pairs")["pair_id"].to_list()
    return requeue(answers, doubts, min_seconds=quality.min_seconds, open_pairs=waiting)


def pay_report(root: Path) -> pl.DataFrame:
    """One row per annotator, dataset and round: answers, hours, money, money per hour."""
    with Reader(root) as reader:
        return pay(answers_of(reader))


def agreement_report(root: Path) -> list[Facts]:
    """One row per dataset and criterion: Krippendorff's α of people, nominal, with its 95 % interval over groups.

    dataset (null: votes that no round asked for), criterion, n_votes, n_pairs, n_groups, alpha, low, high, note: why
    there is no number, or that an interval over so few groups is descriptive. Onboarding and adjudication are left
    out: those pairs were picked for being easy or hard.
    """
    with Reader(root) as reader:
        answers, groups = answers_of(reader), reader.query("people_groups")
    asked = answers.filter(pl.col("outcome") == "voted", ~pl.col("purpose").is_in(["onboarding", "adjudicate"]))
    parts = asked.sort("dataset", "criterion", nulls_last=True).partition_by("dataset", "criterion", as_dict=True)
    return [{"dataset": d, "criterion": c, **_alpha(part, groups)} for (d, c), part in parts.items()]


def feedback(root: Path, folder: Path) -> list[Facts]:
    """A page for each annotator with an answer, written into `folder`; (voter, file) of each.

    Files are named by content, since a voter's name is no path. Raises RefusedError where nobody has answered.
    """
    quality = _quality(root)
    with Reader(root) as reader:
        answers, fits, texts = answers_of(reader), reader.query("people_fits"), reader.query("people_gold_texts")
    if answers.is_empty():
        raise RefusedError("no answer of a person", expected="votes of annotators", next="tiebreak collect")
    profiled = profiles(answers, fits, min_seconds=quality.min_seconds)
    found = findings(profiled)
    folder.mkdir(parents=True, exist_ok=True)
    return [
        _page(folder, voter, feedback_page(voter, profiled, found, missed_gold(answers, voter, texts)))
        for voter in profiled["voter"]
    ]


def _page(folder: Path, voter: str, page: str) -> Facts:
    path = folder / f"{content_id('feedback', voter)}.html"
    replace_text(path, page)
    return {"annotator": voter, "page": str(path)}


def _alpha(votes: pl.DataFrame, groups: pl.DataFrame) -> Facts:
    evidence = EVIDENCE.complete(votes.select(
        "pair_id", "voter", "criterion", "ballot_id", "p_a", "p_tie", kind=pl.lit("human"), family="voter",
        is_abstention=pl.lit(False), weight=pl.lit(1.0)))
    try:
        found = krippendorff_alpha(evidence, groups=groups)
    except RefusedError as refusal:
        return {"n_votes": votes.height, "n_pairs": votes["pair_id"].n_unique(), "n_groups": None, "alpha": None,
                "low": None, "high": None, "note": str(refusal)}
    note = f"interval over {found.n_groups} groups is descriptive" if found.is_descriptive else ""
    return {"n_votes": found.n_votes, "n_pairs": found.n_pairs, "n_groups": found.n_groups, "alpha": found.alpha,
            "low": found.low, "high": found.high, "note": note}


def _quality(root: Path) -> Quality:
    """What the workspace's recipe asks of annotators; nothing where there is none."""
    path = Workspace(root).recipe
    return parse_recipe(path.read_text(), origin=str(path)).people.quality if path.is_file() else Quality()
