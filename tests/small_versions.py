"""A warehouse with released versions, made by hand: who said what is plain to see, and nothing was run for it."""

from __future__ import annotations

import polars as pl
from small_rows import NOW, labels, votes, world

from schemas.ids import text_id
from schemas.tables import SOURCES, VERSIONS
from warehouse.store import Store, Writer
from warehouse.versions import base_rows, label_set_fingerprint, settle_labels

RECIPE = '{"dataset":"d"}'


def release(writer: Writer, frame: pl.DataFrame, n: int, dataset: str = "d") -> None:
    """Settle labels over version n - 1 and release them as version n."""
    delta = settle_labels(writer, frame, dataset, n - 1, "recipe")
    writer.append({"labels": delta.labels})
    made = label_set_fingerprint(writer, dataset, n - 1, delta.label_set)
    row = {"dataset": dataset, "n": n, "label_set": delta.label_set, "recipe_fingerprint": delta.label_set,
           "recipe": RECIPE, "as_of": 9, "n_pairs": made.n_pairs, "counts": "{}", "fingerprint": made.root,
           "code_commit": "", "released_at": NOW}
    writer.append({"versions": VERSIONS.complete(pl.DataFrame([row])),
                   "version_bases": base_rows(writer, dataset, n, delta.label_set)})


def released(store: Store, n_pairs: int = 4, **rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """`d@1` of `world(n_pairs)`, a vote of ann's on every pair, all published; returns the world's frames.

    `rows` are further frames, or put in place of the world's.
    """
    frames = {**world(n_pairs), "sources": SOURCES.complete(pl.DataFrame({"source": ["hand"]})), **rows}
    said = votes(frames["pairs"], "ann", rationale="ann thinks that good is the better one", external_ref="task 7")
    with store.write("test") as writer:
        writer.append({"votes": said, **frames})
        release(writer, labels(frames["pairs"]), 1)
        writer.publish()
    return frames


def id_of(text: str) -> str:
    """Id of a text of the world's."""
    return text_id(text)
