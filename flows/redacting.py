"""Erasure: a text or a voter leaves for good, and what is left says so.

A pair whose text is erased leaves every scope: the next version withdraws it, earlier ones keep its label and its
number, and none shows it. A voter's votes stay as numbers under another name; name, reasons and links go.
"""

from __future__ import annotations

import json
import re
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from schemas.errors import InputError, RefusedError
from warehouse.erasure import Erasure, begin, finish, name_for, pending, remove_unindexed
from warehouse.erasure_files import erase_files, holds
from warehouse.lock import holder
from warehouse.store import Store, Writer
from warehouse.workspace import Workspace

Facts = dict[str, object]
PEOPLE = ("human", "imported")


def redact(root: Path, *, text_id: str | None, voter: str | None, reason: str) -> Facts:
    """Erase a text or a voter everywhere in the workspace; what was begun before is finished first.

    Returns what was changed and what the owner must still see to: exports, models, tasks elsewhere. Raises
    InputError for what is not there, RefusedError while a round or a training is under way.
    """
    if (text_id is None) == (voter is None) or not reason.strip():
        raise InputError(
            "redact", expected="one of --text-id and --voter, and a --reason", next="tiebreak redact --help"
        )
    if voter and re.search(rf"(?<!\w){re.escape(voter)}(?!\w)", reason):
        raise InputError("the reason names the voter", expected="a reason that may stay", next="leave the name out")
    store = Store(root)
    with store.hold("redact"):
        begun = pending(store.workspace)
        if begun is not None:
            facts = _carry_out(store, begun)
            if (begun.words if voter else begun.key) == (voter or text_id):
                return facts
        with store.opened() as writer:
            asked = _voter(writer, voter, reason) if voter else _text(writer, str(text_id), reason)
        if isinstance(asked, Erasure) and asked.what == "text" and any(form in reason for form in asked.forms):
            raise InputError("the reason quotes the text", expected="a reason that may stay", next="say it otherwise")
        return _carry_out(store, asked) if isinstance(asked, Erasure) else asked


def erasures(stones: pl.DataFrame) -> Iterator[str]:
    """One line per tombstone (query `tombstones_of`): what, when, why."""
    for row in stones.iter_rows(named=True):
        yield f"{row['what']} {row['row_id']}, erased {row['erased_at']:%Y-%m-%d}: {row['reason']}"


def _text(writer: Writer, text_id: str, reason: str) -> Erasure | Facts:
    try:
        key = str(uuid.UUID(text_id))
    except ValueError as error:
        raise InputError(f"text id {text_id!r}", expected="36 characters like those of `tiebreak sql 'FROM texts'`",
                         next="tiebreak sql 'SELECT * FROM texts'") from error
    stones = writer.query("tombstones_of", version=None).filter((pl.col("what") == "text") & (pl.col("row_id") == key))
    if stones.height:
        return _done(stones)
    found = writer.query("text_of", text_id=key)
    if not found.height:
        raise InputError(f"no text {key}", expected="the id of a text", next="tiebreak sql 'SELECT * FROM texts'")
    versions = writer.query("versions_with_text", text_id=key)["version"].to_list()
    return Erasure("text", key, found["text"].item(), None, reason, tuple(versions))


def _voter(writer: Writer, voter: str, reason: str) -> Erasure | Facts:
    stones = writer.query("tombstones_of", version=None).filter(pl.col("what") == "voter")
    names = stones.select("row_id", "salt").iter_rows()
    known = [key for key, salt in names if key in (voter, name_for(voter, salt))]
    if known:
        return _done(stones.filter(pl.col("row_id") == known[0]))
    found = writer.query("voter_of", voter=voter)
    kinds = found["kind"].to_list()
    if not kinds:
        raise InputError(f"no voter {voter!r}", expected="the name of a voter", next="tiebreak annotators")
    if kinds[0] not in PEOPLE:
        raise RefusedError(f"{voter!r} is a {kinds[0]}", expected="a person", next="leave it out of the recipe instead")
    salt = uuid.uuid4().hex
    versions = writer.query("versions_with_voter", voter=voter)["version"].to_list()
    return Erasure("voter", name_for(voter, salt), voter, salt, reason, tuple(versions))


def _done(stones: pl.DataFrame) -> Facts:
    """That it was erased before."""
    versions = json.loads(stones["versions"][0])
    return {"done already": "; ".join(erasures(stones)), "versions that held it": _listed(versions)}


def _carry_out(store: Store, erasure: Erasure) -> Facts:
    """Every step may be done again: a killed erasure begins with the first and comes to the same end."""
    workspace = store.workspace
    _require_quiet(workspace, erasure)
    begin(workspace, erasure)
    with store.opened() as writer:
        outside = _outside(writer, erasure)
        _remove_unfinished_orders(workspace, writer, erasure)
        n_rows = writer.erase(erasure)
        writer.checkpoint()  # no log may be left beside the new file
    store.rebuild()
    with store.opened() as writer:
        writer.publish(is_anew=True)
        shards = writer.shards()
    remove_unindexed(workspace, shards)
    reached = erase_files(workspace, erasure)
    finish(workspace)
    return {
        erasure.what: erasure.key, "reason": erasure.reason, "rows changed": n_rows,
        "files changed": len(reached.changed), "versions that held it": _listed(erasure.versions), **outside,
        "still in": _listed(str(path.relative_to(workspace.root)) for path in reached.still),
        "not reached": "backups made before: make a new one, then remove them",
    }


def _outside(writer: Writer, erasure: Erasure) -> Facts:
    """What lies elsewhere, or cannot forget: exports and models of versions that held it, tasks on platforms."""
    exports = writer.query("exports_made").filter(pl.col("version").is_in(erasure.versions))
    models = writer.query("models_trained").filter(pl.col("version").is_in(erasure.versions))
    told: Facts = {
        "exports made earlier": _listed(f"{v} as {form} in {folder}" for v, form, folder, _ in exports.iter_rows()),
        "models trained on it": _listed(models["model"]),
    }
    if erasure.what == "text":
        tasks = writer.query("tasks_with_text", text_id=erasure.key)
        told["tasks that show it"] = _listed(f"{t[0]} task {t[1]}" for t in tasks.iter_rows())
    return told


def _require_quiet(workspace: Workspace, erasure: Erasure) -> None:
    """Nobody may be at work who still has the words in memory, or reads files that are about to change."""
    locks = [*workspace.root.glob("round-*.lock"), *workspace.orders.glob("*.lock"), *workspace.orders.glob("*/*.lock")]
    for lock in locks:
        if (who := holder(lock)) is not None:
            raise RefusedError(f"{lock.name} is held by {who}", expected="no round or training under way",
                               next="wait for it or stop it, then redact again")
    asking = [path.name for path in sorted(workspace.inbox.glob("calls-*.jsonl")) if holds(path, erasure)]
    if asking:
        raise RefusedError(f"a process that still runs wrote it to inbox/{asking[0]}", expected="that process to end",
                           next="stop it, then redact again")


def _remove_unfinished_orders(workspace: Workspace, writer: Writer, erasure: Erasure) -> None:
    """Orders that nothing came of yet go whole: retraining writes them anew, without the pairs that are gone."""
    if erasure.what == "voter" and not erasure.is_quotable:
        return  # a short name is no reason to train anew: it may be a group's by chance
    recorded = set(writer.query("models_trained")["model"])
    for order in sorted(path for path in workspace.orders.glob("*") if path.is_dir() and path.name not in recorded):
        if any(holds(path, erasure) for path in order.glob("*.parquet")):
            shutil.rmtree(order)


def _listed(names: Iterator[str] | pl.Series | tuple[str, ...] | list[str]) -> str:
    return ", ".join(names) or "none"
