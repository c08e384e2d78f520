"""What a language model is called, and what it reads."""

from __future__ import annotations

import json

import polars as pl

from curate.rewards.language_models import lessons_of, model_name
from schemas.recipe import Tuning

BASE = "org/tiny"


def test_equal_content_gives_the_equal_name_and_another_tuning_another() -> None:
    tuning = Tuning(base=BASE)
    assert model_name("d", 1, "f", tuning, 0) == model_name("d", 1, "f", Tuning(base=BASE), 0)
    others = [("f", tuning, 1), ("g", tuning, 0), ("f", Tuning(base=BASE, epochs=2), 0)]
    assert model_name("d", 1, "f", tuning, 0) not in {model_name("d", 1, *other) for other in others}


def test_a_lesson_begins_with_the_system_prompt_where_there_is_one() -> None:
    asked = '[{"role":"user","content":"hi \\"there\\""}]'
    row = {"pair_id": "p", "group_id": "g", "prompt": asked, "system": "Be kind.", "text_a": "x", "text_b": "y",
           "p_a": 1.0, "p_tie": 0.0, "strength": 3.0, "weight": 1.0}
    lessons = lessons_of(pl.DataFrame([row, {**row, "pair_id": "q", "system": None}]))
    assert [json.loads(m) for m in lessons["messages"]] == [
        [{"role": "system", "content": "Be kind."}, {"role": "user", "content": 'hi "there"'}],
        [{"role": "user", "content": 'hi "there"'}]]
