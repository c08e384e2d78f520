"""The view `lineage`, given and expected."""

from __future__ import annotations

import polars as pl
import pytest
from small_rows import call, world

from schemas.ids import content_id, text_id
from schemas.tables import CALLS, POLICIES, RESPONSES, SOURCES, TEXTS
from warehouse.reader import Reader
from warehouse.store import Store


@pytest.mark.service
def test_each_response_has_one_row_with_its_policy_parent_and_licences(store: Store) -> None:
    frames = world(1)
    prompt, parent = frames["prompts"]["prompt_id"][0], frames["responses"]["response_id"][0]
    rewriting = {"response_id": content_id(prompt, "ruder", "w@1"), "prompt_id": prompt, "text_id": text_id("ruder"),
                 "form": "text", "author": "w@1", "policy": "w@1", "sampling": "{}", "parent_id": parent,
                 "call_key": content_id("k")}
    given = {
        **frames, "responses": pl.concat([frames["responses"], RESPONSES.complete(pl.DataFrame([rewriting]))]),
        "texts": pl.concat([frames["texts"], TEXTS.complete(pl.DataFrame([{"text_id": text_id("ruder"),
                                                                           "text": "ruder"}]))]),
        "policies": POLICIES.complete(pl.DataFrame([{"policy": "w@1", "model": "org/w", "licence": "MIT",
                                                     "may_redistribute": True}])),
        "sources": SOURCES.complete(pl.DataFrame([{"source": "hand", "licence": "CC0-1.0"}])),
        "calls": CALLS.complete(pl.DataFrame([{**call("k"), "template": "contrast@1"}]).with_columns(
            pl.col("called_at").str.to_datetime(time_zone="UTC"))),
    }
    with store.write("test") as writer:
        writer.append(given)
        writer.publish()
    with Reader(store.workspace.root) as reader:
        rows = reader.sql("SELECT response, policy, model, instrument, licence, prompt_licence, parent_id::VARCHAR"
                          " FROM lineage ORDER BY response")
    assert rows.rows() == [
        ("bad 0", None, None, None, None, "CC0-1.0", None), ("good 0", None, None, None, None, "CC0-1.0", None),
        ("ruder", "w@1", "org/w", "contrast@1", "MIT", "CC0-1.0", parent)]
