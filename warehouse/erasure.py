"""Erasure: a text or a voter's name leaves database, shards, published files and every other file of a workspace.

DuckDB frees pages and does not clear them, so the database is written anew. What was begun is noted in
`redaction.json` (readable by its owner only) until all is done: a killed erasure is taken up again from there.
"""

from __future__ import annotations

import html
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import duckdb
import polars as pl

from schemas.errors import RefusedError
from schemas.ids import content_id
from warehouse.inbox import write_parquet
from warehouse.statements import statement
from warehouse.workspace import Workspace, replace_text, sync

MARK = "[erased]"
SHORTEST_QUOTE = 16
"""characters; a shorter text ("yes") stands in others by chance, and is erased only where it is all that is said"""
BEGINNING = 48
"""characters by which a page shows a text: pages cut texts, and fold what is long"""

# Columns in which words of people, models and sources stand, wherever they came from.
WORDS: Mapping[str, tuple[str, ...]] = {
    "calls": ("response", "choice_logprobs", "parameters", "subject"),
    "discards": ("detail",), "gold": ("why",), "pair_tags": ("value",), "pairs": ("declared_contrast",),
    "policies": ("system",), "prompt_tags": ("value",), "prompts": ("system",), "rejects": ("seen",),
    "responses": ("sampling",), "routes": ("features",), "runs": ("detail",), "submissions": ("reason",),
    "tombstones": ("reason",), "votes": ("rationale", "evidence", "external_ref"),
}
# Columns in which a voter is named.
NAMES: Mapping[str, tuple[str, ...]] = {
    "calls": ("voter",), "exams": ("voter",), "pair_tags": ("tagger",), "prompt_tags": ("tagger",),
    "ratings": ("voter",), "responses": ("author",), "submissions": ("voter",), "voter_fits": ("voter",),
    "voters": ("voter", "family"), "votes": ("voter",),
}


@dataclass(frozen=True)
class Erasure:
    """What is erased, kept in `redaction.json` until it is gone everywhere."""

    what: str
    """"text" or "voter\""""
    key: str
    """the text's id, or the name that stands for the voter from now on"""
    words: str
    """the text, or the voter's name"""
    salt: str | None
    reason: str
    versions: tuple[str, ...]

    @property
    def quotes(self) -> tuple[str, ...]:
        """The words, and what a person says in them where they are a prompt: trainers and voters are told that."""
        said = _asked(self.words) if self.what == "text" else ()
        return tuple(dict.fromkeys((self.words, *said)))

    @property
    def is_quotable(self) -> bool:
        """Long enough to be looked for inside other texts."""
        return any(len(quote) >= SHORTEST_QUOTE for quote in self.quotes)

    @property
    def mark(self) -> str:
        """What stands where the words were."""
        return self.key if self.what == "voter" else MARK

    @property
    def forms(self) -> tuple[str, ...]:
        """Quotes as they are written: plain, inside JSON once and twice, and in HTML; longest first."""
        plain = {quote for quote in self.quotes if len(quote) >= SHORTEST_QUOTE}
        once = {json.dumps(form, ensure_ascii=ascii)[1:-1] for form in plain for ascii in (True, False)}
        twice = {json.dumps(form, ensure_ascii=ascii)[1:-1] for form in once for ascii in (True, False)}
        pages = {html.escape(form, quote=quote) for form in (*plain, *once) for quote in (True, False)}
        return tuple(sorted({*plain, *once, *twice, *pages}, key=lambda form: (-len(form), form)))

    @property
    def beginnings(self) -> tuple[str, ...]:
        """How a page that shows the text shows its beginning."""
        heads = {quote[:BEGINNING] for quote in self.quotes if len(quote) >= SHORTEST_QUOTE}
        return tuple(sorted(heads | {html.escape(head) for head in heads}))


def pending(workspace: Workspace) -> Erasure | None:
    """The erasure that was begun and not finished."""
    path = _note(workspace)
    noted = path.read_text(encoding="utf-8").strip() if path.is_file() else ""
    if not noted:  # blank: all was done, and the end was killed before the note was removed
        return None
    said = json.loads(noted)
    return Erasure(**{**said, "versions": tuple(said["versions"])})


def require_none_pending(workspace: Workspace) -> None:
    """Raises RefusedError while an erasure is half done: a copy would hold what is being erased."""
    if pending(workspace) is not None:
        raise RefusedError("an erasure was begun and not finished", expected="it to be finished",
                           next="tiebreak redact again")


def begin(workspace: Workspace, erasure: Erasure) -> None:
    """Note what is to be erased, before anything is."""
    replace_text(_note(workspace), json.dumps(asdict(erasure)), mode=0o600)


def finish(workspace: Workspace) -> None:
    """The last trace of it goes, notes of killed beginnings first: overwritten before it is removed."""
    for path in (*workspace.root.glob(".redaction.json.*.tmp"), _note(workspace)):
        with path.open("r+b") as file:
            file.write(b" " * path.stat().st_size)
            file.flush()
            os.fsync(file.fileno())
        path.unlink()


def erase_rows(connection: duckdb.DuckDBPyConnection, workspace: Workspace, erasure: Erasure) -> int:
    """Rewrite the shards, then in one transaction every row that holds it; returns rows and texts changed."""
    moved, n_texts = _rewrite_shards(connection, workspace, erasure)
    connection.execute("BEGIN")
    try:
        n_rows = _erase_voter(connection, erasure) if erasure.what == "voter" else _erase_answers(connection, erasure)
        n_rows += sum(_erase_words(connection, table, column, erasure)
                      for table, columns in WORDS.items() for column in columns)
        for old, new in moved.items():
            connection.execute("UPDATE text_index SET shard = $new WHERE shard = $old", {"old": old, "new": new})
        _bury(connection, erasure, n_rows + n_texts)
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    return n_rows + n_texts


def rebuild(workspace: Workspace, storage_version: str) -> None:
    """Write the database into a new file, which takes the old one's place: freed pages keep what they held.

    The lock is held and the database closed. Rows keep their order, by which they are published.
    """
    new = workspace.root / ".warehouse.duckdb.tmp"
    for left_by_a_kill in (new, new.with_name(f"{new.name}.wal")):
        left_by_a_kill.unlink(missing_ok=True)
    old_path, new_path = (str(path).replace("'", "''") for path in (workspace.database, new))
    connection = duckdb.connect()
    try:
        connection.execute(f"ATTACH '{old_path}' AS before (READ_ONLY)")
        connection.execute(f"ATTACH '{new_path}' AS after (STORAGE_VERSION '{storage_version}')")
        connection.execute("COPY FROM DATABASE before TO after")
        connection.execute("CHECKPOINT after")
    finally:
        connection.close()
    sync(new)
    new.replace(workspace.database)


def remove_unindexed(workspace: Workspace, shards: list[str]) -> None:
    """Remove shards that the index no longer names; a reader that has one open keeps it until it closes it."""
    for path in workspace.texts.iterdir():
        if path.name not in shards:
            path.unlink()


def renamed(frame: pl.DataFrame, table: str, stones: pl.DataFrame) -> pl.DataFrame:
    """`frame` with erased voters under the names that stand for them: a source that is read again names them again."""
    columns = [c for c in NAMES.get(table, ()) if c in frame.columns]
    if not stones.height or not columns:
        return frame
    said = {str(name) for c in columns for name in frame[c].drop_nulls().unique()}
    names = {name: key for key, salt in stones.iter_rows() for name in said if name_for(name, salt) == key}
    return frame.with_columns(pl.col(c).replace(names) for c in columns) if names else frame


def name_for(voter: str, salt: str) -> str:
    """The name that stands for an erased voter. Who holds the salt can check a guess, and nobody can read it back."""
    return f"erased-{content_id(salt, voter)[:13]}"


def _asked(text: str) -> Iterator[str]:
    """What users say in a prompt, which is stored as JSON of messages; nothing where a text is none."""
    try:
        messages = json.loads(text)
    except (ValueError, RecursionError):
        return
    for message in messages if isinstance(messages, list) else []:
        said = message.get("content") if isinstance(message, dict) and message.get("role") == "user" else None
        if isinstance(said, str) and said:
            yield said


def _note(workspace: Workspace) -> Path:
    return workspace.root / "redaction.json"


def _bury(connection: duckdb.DuckDBPyConnection, erasure: Erasure, n_rows: int) -> None:
    connection.execute(statement("queries", "insert_tombstone"), {
        "what": erasure.what, "row_id": erasure.key, "salt": erasure.salt, "reason": erasure.reason, "n_rows": n_rows,
        "versions": json.dumps(erasure.versions),
    })


def _erase_voter(connection: duckdb.DuckDBPyConnection, erasure: Erasure) -> int:
    """Name, words and links of a voter; the numbers stay, under the other name."""
    said = {"voter": erasure.words, "key": erasure.key}
    n_rows = _changed(connection, statement("queries", "erase_words_of_voter"), {"voter": erasure.words})
    for table, columns in NAMES.items():
        for column in columns:
            n_rows += _changed(
                connection, f'UPDATE {table} SET "{column}" = $key WHERE "{column}" = $voter', said)
    return n_rows


def _erase_answers(connection: duckdb.DuckDBPyConnection, erasure: Erasure) -> int:
    """Answers of models that are the text, or that spell it out in tokens or vectors."""
    return _changed(
        connection, statement("queries", "erase_answers"),
        {"text_id": erasure.key, "text": erasure.words, "mark": erasure.mark},
    )


def _erase_words(connection: duckdb.DuckDBPyConnection, table: str, column: str, erasure: Erasure) -> int:
    """The words wherever they stand in one column; short ones only where a rationale says nothing else."""
    if not erasure.is_quotable and (table, column) != ("votes", "rationale"):
        return 0
    if not erasure.is_quotable:
        return _changed(connection, "UPDATE votes SET rationale = $mark WHERE rationale = $words",
                        {"words": erasure.words, "mark": erasure.mark})
    said = {f"form_{i}": form for i, form in enumerate(erasure.forms)} | {"mark": erasure.mark}
    value, name = f'"{column}"', f'"{column}"'
    for i in range(len(erasure.forms)):
        value = f"replace({value}, $form_{i}, $mark)"
    holds = " OR ".join(f"contains({name}, $form_{i})" for i in range(len(erasure.forms)))
    return _changed(connection, f"UPDATE {table} SET {name} = {value} WHERE {holds}", said)


def _changed(connection: duckdb.DuckDBPyConnection, sql: str, params: Mapping[str, object]) -> int:
    row = connection.execute(sql, {k: v for k, v in params.items() if f"${k}" in sql}).fetchone()
    return int(row[0]) if row else 0


def _rewrite_shards(
    connection: duckdb.DuckDBPyConnection, workspace: Workspace, erasure: Erasure
) -> tuple[dict[str, str], int]:
    """Old to new names of the shards that held it, and how many texts changed. The index is not touched yet."""
    shards = [str(row[0]) for row in connection.execute("SELECT DISTINCT shard FROM text_index ORDER BY 1").fetchall()]
    moved, n_texts = {}, 0
    for shard in shards:
        held = pl.read_parquet(workspace.texts / shard)
        left = held.filter(pl.col("text_id") != erasure.key) if erasure.what == "text" else held
        after = left.with_columns(without(pl.col("text"), erasure))
        n_changed = held.height - after.join(held, on=["text_id", "text"], how="semi").height
        if n_changed:
            moved[shard] = f"{content_id(shard, erasure.key)}.parquet"
            write_parquet(after, workspace.texts / moved[shard])
            n_texts += n_changed
    return moved, n_texts


def without(text: pl.Expr, erasure: Erasure) -> pl.Expr:
    """A text in which the words, where they are quoted, are marked as erased."""
    if not erasure.is_quotable:
        return text
    for form in erasure.forms:
        text = text.str.replace_all(form, erasure.mark, literal=True)
    return text
