"""Export: a version as a folder that trainers read, with a card; written whole or not at all."""

from __future__ import annotations

import json
import shutil
import uuid
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from curate.adapters.dataset_folder import save_splits
from flows.export_cards import Ground, card, hub_card, passing_on
from flows.export_forms import FORMS, kept, split_by_group
from flows.redacting import erasures
from flows.rounds import now
from schemas.errors import InputError, RefusedError
from schemas.tables import COMPARISONS, RUNS
from warehouse.inbox import write_parquet
from warehouse.reader import Reader
from warehouse.store import Store
from warehouse.workspace import Workspace

Facts = dict[str, object]


def write_training_folder(workspace: Workspace, dataset: str, n: int, members: pl.DataFrame) -> int:
    """`exports/<dataset>@<n>/train/train.parquet` (contract COMPARISONS) of kept pairs; returns the rows."""
    rows = COMPARISONS.complete(kept(members).select(*COMPARISONS.schema))
    folder = training_folder(workspace, dataset, n)
    folder.mkdir(parents=True, exist_ok=True)
    write_parquet(rows.sort("pair_id"), folder / "train.parquet")
    return rows.height


def training_folder(workspace: Workspace, dataset: str, n: int) -> Path:
    """Where a version lies for our own trainer."""
    return workspace.exports / f"{dataset}@{n}" / "train"


@dataclass(frozen=True)
class Earlier:
    """The version that an export of changes counts from."""

    name: str
    members: pl.DataFrame
    erased: pl.DataFrame
    """(pair_id) of its pairs of which a text was erased"""


@dataclass(frozen=True)
class Written:
    """What an export came to."""

    n_rows: int
    ground: Ground
    """of the pairs whose text is in it"""


def export_version(root: Path, dataset: str, n: int, out: Path, form: str, since: int | None = None) -> Facts:
    """A released version under `out`; with `since`, only rows that version `since` lacks or has otherwise.

    The workspace notes where it went, so that `redact` can name the copies of a text that it cannot reach.
    """
    if since is not None and since >= n:
        raise InputError(
            f"--since {dataset}@{since}", expected=f"a version before {dataset}@{n}", next="tiebreak versions"
        )
    with Reader(root) as reader:
        version = reader.query("versions_of", dataset=dataset).filter(pl.col("n") == n).row(0, named=True)
        members, ground = members_of(reader, dataset, n), ground_of(reader, dataset, n)
        earlier = None if since is None else Earlier(
            f"{dataset}@{since}", members_of(reader, dataset, since),
            reader.query("erased_members", dataset=dataset, n=since),
        )
    written = write_export(members, version, out, form, ground, earlier)
    refused, unknown = passing_on(written.ground.origins)
    return {
        "rows": written.n_rows, "folder": str(out), "card": str(out / _card_name(form)),
        "pairs that must not be passed on": refused, "pairs not cleared for passing on": unknown,
        "noted for redact": "yes" if _note(root, f"{dataset}@{n}", out, form) else "no: the workspace is read-only",
    }


def members_of(reader: Reader, dataset: str, n: int) -> pl.DataFrame:
    """Pairs of a version with texts, dropped ones with their reason."""
    return reader.query("version_members", dataset=dataset, n=n)


def ground_of(reader: Reader, dataset: str, n: int) -> Ground:
    """What a version's card says of licences and erasures."""
    origins = reader.query("pair_origins", dataset=dataset, n=n)
    erased = reader.query("erased_members", dataset=dataset, n=n)
    stones = reader.query("tombstones_of", version=f"{dataset}@{n}")
    return Ground(origins.join(erased, on="pair_id", how="anti"), erased.height, tuple(erasures(stones)))


def write_export(
    members: pl.DataFrame, version: Facts, out: Path, form: str, ground: Ground | None = None,
    earlier: Earlier | None = None,
) -> Written:
    """A version in a foreign form under `out`, with its card. Raises RefusedError when `out` is not empty."""
    if form not in FORMS:
        raise InputError(f"format {form!r}", expected=f"one of {sorted(FORMS)}", next="tiebreak export --help")
    out = out.resolve()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RefusedError(f"{out} is not empty", expected="a new or empty folder", next="name another --out")
    temporary = out.with_name(f".{out.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    written = _fill(temporary, members, version, form, ground or Ground(), earlier)
    if out.exists():
        out.rmdir()
    temporary.replace(out)
    return written


def _fill(
    folder: Path, members: pl.DataFrame, version: Facts, form: str, ground: Ground, earlier: Earlier | None
) -> Written:
    """Rows, card and, for changes, what is gone, in a folder that nobody sees yet."""
    rows = FORMS[form].rows(members)
    if earlier is not None:
        rows, removed = _changes(rows, members, form, earlier)
        write_parquet(removed, folder / "removed.parquet")
        ground = replace(ground, since=earlier.name, n_removed=removed.height)
    ground = replace(ground, origins=_shown(ground.origins, members, rows))
    if earlier is None and not FORMS[form].is_key_shown:
        rows = rows.drop(FORMS[form].key)
    text = card(members, version, form, rows, ground)
    if form == "hf":
        splits = split_by_group(rows, are_changes=earlier is not None)
        save_splits(splits, folder, f"{version['fingerprint']}/{ground.since}")
        text = hub_card(text, version, splits, ground)
    else:
        write_parquet(rows, folder / "train.parquet")
    (folder / _card_name(form)).write_text(text, encoding="utf-8")
    return Written(rows.height, ground)


def _shown(origins: pl.DataFrame, members: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Origins of the pairs whose text is in `rows`; where rows are no pairs, of the kept ones they are made of."""
    shown = rows if "pair_id" in rows.columns else kept(members)
    return origins.join(shown.select("pair_id"), on="pair_id", how="semi")


def _changes(
    rows: pl.DataFrame, members: pl.DataFrame, form: str, earlier: Earlier
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(rows that are new or differ, rows of the earlier version that are no longer there and why).

    Who lays the first over an export of the earlier version, by key, and takes the second away, has this version.
    """
    key, before = FORMS[form].key, FORMS[form].rows(earlier.members)
    same = _as_said(rows, key).join(_as_said(before, key), on=[key, "said"], how="semi")
    changed = rows.join(same, on=key, how="anti", maintain_order="left")
    gone = before.join(rows, on=key, how="anti", maintain_order="left")
    if key != "pair_id":
        return changed, gone.with_columns(removed_because=pl.lit("wins as much as it loses, or is in no pair"))
    gone = pl.concat([gone, earlier.erased], how="diagonal")
    fate = pl.when(pl.col("action") == "drop").then(pl.format("drop: {}", "reason")).otherwise(pl.lit("a tie"))
    why = pl.concat([
        members.select("pair_id", removed_because=fate),
        earlier.erased.select("pair_id", removed_because=pl.lit("erased")),
    ])
    removed = gone.join(why, on="pair_id", how="left", maintain_order="left")
    return changed, removed.with_columns(pl.col("removed_because").fill_null("not in the version"))


def _as_said(rows: pl.DataFrame, key: str) -> pl.DataFrame:
    return rows.select(key, said=pl.struct(pl.exclude(key)).struct.json_encode())


def _card_name(form: str) -> str:
    return "README.md" if form == "hf" else "card.md"


def _note(root: Path, version: str, out: Path, form: str) -> bool:
    """Leave a row of `runs` in the inbox; False where nothing can be written, as in a read-only copy."""
    detail = json.dumps({"version": version, "form": form, "folder": str(out.resolve())})
    row = pl.DataFrame([{"run_id": uuid.uuid4().hex, "flow": "export", "event": "finished", "round_id": None,
                         "detail": detail, "at": now()}], schema_overrides={"round_id": pl.String})
    try:
        Store(root).inbox("export").segment("runs", RUNS.complete(row))
    except OSError:
        return False
    return True
