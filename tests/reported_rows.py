"""A dataset of two versions made by hand, small enough to count by eye: what a report says of it is known."""

from __future__ import annotations

import datetime as dt

import polars as pl
from small_rows import NOW, call, labels, votes, world

from schemas.ids import content_id
from schemas.tables import (
    ANSWERS,
    CALLS,
    EVALUATIONS,
    LABEL_SETS,
    MODELS,
    POLICIES,
    PROMOTIONS,
    ROUNDS,
    ROUTES,
    SOURCES,
    TASKS,
    VERSIONS,
    VOTER_FITS,
)
from warehouse.store import Store

PAIRS = world(6)["pairs"]["pair_id"].to_list()
"""kept in both but flipped, removed, of other strength, of other probability, unchanged, added"""
ROUND = (content_id("round 1"), content_id("round 2"))
SETS = (content_id("labels 1"), content_id("labels 2"))
RECIPES = ('{"dataset": "hand"}', '{"dataset": "hand", "seed": 3}')
LATER = NOW + dt.timedelta(days=1)


def reported(store: Store, *, text: str | None = None, name: str = "ann") -> Store:
    """`store` with versions hand@1 and hand@2 published. `text` replaces every response, `name` is the person's."""
    frames = _world(text, name)
    with store.write("test") as writer:
        writer.append({**frames, **_rounds(), "votes": votes(frames["pairs"], "judge", 0.9, shown_first="a",
                                                             round_id=ROUND[0], cost_usd=0.5)})
        writer.append({**_second_round(frames, name), **_labels(frames["pairs"]), **_fits(name), **_models()})
        writer.publish()
    return store


def not_released(store: Store) -> Store:
    """`store` with two rounds under way and no version."""
    with store.write("test") as writer:
        writer.append(_rounds())
        writer.publish()
    return store


def _world(text: str | None, name: str) -> dict[str, pl.DataFrame]:
    frames = world(6)
    is_prompt = pl.col("text").str.starts_with("[")
    if text is not None:
        frames["texts"] = frames["texts"].with_columns(pl.when(is_prompt).then("text").otherwise(pl.lit(text)))
    good = frames["texts"].filter(pl.col("text").str.starts_with("good"))["text_id"]
    policy = pl.when(pl.col("text_id").is_in(good.to_list())).then(pl.lit("careful@1")).otherwise(pl.lit("hasty@1"))
    frames["responses"] = frames["responses"].with_columns(policy=policy)
    frames["voters"] = frames["voters"].with_columns(pl.col("voter", "family").replace({"ann": name}))
    frames["sources"] = SOURCES.complete(pl.DataFrame([{"source": "hand", "licence": "CC0-1.0",
                                                        "may_redistribute": True}]))
    frames["policies"] = POLICIES.complete(pl.DataFrame([{"policy": "careful@1", "model": "org/careful"}]))
    return frames


def _rounds() -> dict[str, pl.DataFrame]:
    rows = [{"round_id": ROUND[n - 1], "dataset": "hand", "n": n, "recipe_fingerprint": content_id(RECIPES[n - 1]),
             "recipe": RECIPES[n - 1], "as_of": 0, "budget_votes": 1, "opened_at": NOW} for n in (1, 2)]
    calls = [{**call(f"c{i}"), "round_id": ROUND[0], "cost_usd": 0.5} for i in range(6)]
    return {"rounds": ROUNDS.complete(pl.DataFrame(rows)), "calls": CALLS.complete(
        pl.DataFrame(calls).with_columns(pl.col("called_at").str.to_datetime(time_zone="UTC")))}


def _second_round(frames: dict[str, pl.DataFrame], name: str) -> dict[str, pl.DataFrame]:
    """The person says b of the first pair, and is paid a quarter."""
    asked = frames["pairs"].filter(pl.col("pair_id") == PAIRS[0])
    said = votes(asked, name, 0.0, round_id=ROUND[1], cost_usd=0.25, shown_first="b")
    route = {"route_id": content_id("route"), "pair_id": PAIRS[0], "round_id": ROUND[1], "to": "people", "ordinal": 0,
             "expected_gain": 0.25, "cost_usd": 0.25, "propensity": 1.0, "is_audit": False, "reason": "value: 0.25",
             "features": '{"p_a": 0.9, "p_tie": 0.0}'}
    task = {"task_key": content_id("task"), "pair_id": PAIRS[0], "route_id": route["route_id"], "round_id": ROUND[1],
            "queue": "people", "shown_first": "b", "is_prefilled": False, "system": "hand", "sent_at": NOW}
    answer = {"task_key": task["task_key"], "outcome": "voted", "vote_id": said["vote_id"].item(), "answered_at": NOW}
    return {"votes": said, "routes": ROUTES.complete(pl.DataFrame([route])),
            "tasks": TASKS.complete(pl.DataFrame([task])), "answers": ANSWERS.complete(pl.DataFrame([answer]))}


def _labels(pairs: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Version 1 keeps five pairs at 0.9, version 2 five too: see PAIRS."""
    first = labels(pairs).with_columns(label_set=pl.lit(SETS[0]))
    is_last = pl.col("pair_id") == PAIRS[5]
    first = first.with_columns(action=pl.when(is_last).then(pl.lit("drop")).otherwise("action"),
                               reason=pl.when(is_last).then(pl.lit("tie")).otherwise("reason"))
    changed = {0: {"p_a": 0.2, "strength": -1.0}, 1: {"action": "drop", "reason": "low_strength", "weight": 0.0},
               2: {"strength": 1.0}, 3: {"p_a": 0.85}, 5: {"action": "keep", "reason": ""}}
    second = pl.concat([
        first.filter(pl.col("pair_id") == PAIRS[i]).with_columns(pl.lit(v).alias(k) for k, v in to.items())
        for i, to in changed.items()]).with_columns(label_set=pl.lit(SETS[1]))
    sets = [{"label_set": SETS[i], "dataset": "hand", "recipe_fingerprint": content_id(RECIPES[i]), "as_of": 6 + i,
             "settled_at": (NOW, LATER)[i]} for i in (0, 1)]
    versions = [{"dataset": "hand", "n": i + 1, "parent_n": i or None, "label_set": SETS[i], "round_id": ROUND[i],
                 "recipe_fingerprint": content_id(RECIPES[i]), "recipe": RECIPES[i], "as_of": 6 + i, "n_pairs": 5,
                 "counts": "{}", "fingerprint": content_id(SETS[i]), "code_commit": "abc", "released_at": NOW}
                for i in (0, 1)]
    return {"labels": pl.concat([first, second]), "label_sets": LABEL_SETS.complete(pl.DataFrame(sets)),
            "versions": VERSIONS.complete(pl.DataFrame(versions))}


def _fits(name: str) -> dict[str, pl.DataFrame]:
    rows = [{"label_set": SETS[1], "voter": voter, "criterion": "overall", "n_votes": n, "skill": skill,
             "skill_low": skill - 0.1, "skill_high": skill + 0.1}
            for voter, n, skill in ((name, 1, 0.8), ("judge", 6, 0.6))]
    return {"voter_fits": VOTER_FITS.complete(pl.DataFrame(rows))}


def _models() -> dict[str, pl.DataFrame]:
    """One model per version on 40 gold pairs: the first is promoted over longer-wins, the second refused."""
    models = [{"model": f"m{n}", "kind": "linear", "family": "f", "dataset": "hand", "trained_on": n,
               "round_id": ROUND[n - 1], "uri": "u", "sha256": "s", "config": "{}", "n_pairs": 5, "trained_at": NOW}
              for n in (1, 2)]
    measured = [{"model": model, "metric": "accuracy", "set": "gate", "set_revision": "gold", "value": value, "n": 40,
                 "n_groups": 20, "low": value - 0.1, "high": value + 0.1, "is_descriptive": False}
                for model, value in (("m1", 0.75), ("m2", 0.8), ("longer-wins", 0.5), ("random", 0.45))]
    gates = [("m1", "longer-wins", "promoted", "better", 0.25, 0.1),
             ("m2", "m1", "refused", "lower bound -0.0100 is not above 0", 0.05, -0.01)]
    decided = [{"round_id": ROUND[i], "candidate": candidate, "incumbent": incumbent, "verdict": verdict,
                "reason": reason, "d": d, "low": low, "high": d + 0.1, "n_pairs": 40, "n_groups": 20, "n_looks": i + 1,
                "decided_at": NOW} for i, (candidate, incumbent, verdict, reason, d, low) in enumerate(gates)]
    return {"models": MODELS.complete(pl.DataFrame(models)),
            "evaluations": EVALUATIONS.complete(pl.DataFrame(measured)),
            "promotions": PROMOTIONS.complete(pl.DataFrame(decided))}
