"""Pseudonyms: stable under one key, unlinkable under another, and silent about key and person."""

from __future__ import annotations

import re

import pytest

from curate.annotating.pseudonyms import pseudonym, pseudonyms
from schemas.errors import RecipeError

KEY = b"a key of sixteen bytes or more"


def test_a_person_has_one_pseudonym_per_installation_and_key() -> None:
    ann = pseudonym("7", "label_studio/a", KEY)
    assert re.fullmatch(r"annotator-[0-9a-f]{12}", ann)
    assert ann == pseudonym("7", "label_studio/a", KEY)
    others = {pseudonym("8", "label_studio/a", KEY), pseudonym("7", "label_studio/b", KEY),
              pseudonym("7", "label_studio/a", KEY + b"!")}
    assert len({ann, *others}) == 4


def test_where_the_installation_ends_and_the_user_begins_makes_a_difference() -> None:
    assert pseudonym("1", "place1", KEY) != pseudonym("11", "place", KEY)


def test_the_pseudonym_is_the_one_written_down_here() -> None:
    # Another one would make other voters of the same people: every installation would start anew.
    assert pseudonym("7", "label_studio/a", KEY) == "annotator-a355a32ac25f"


def test_each_user_is_named_once_and_nobody_has_no_name() -> None:
    named = pseudonyms(["9", None, "7", "9"], "label_studio/a", KEY)
    assert named["user"].to_list() == ["7", "9"]
    assert named["voter"].to_list() == [pseudonym(u, "label_studio/a", KEY) for u in ("7", "9")]
    assert pseudonyms([], "label_studio/a", KEY).columns == ["user", "voter"]


def test_a_short_key_is_refused_and_not_quoted() -> None:
    with pytest.raises(RecipeError, match="16 or more") as caught:
        pseudonym("7", "label_studio/a", b"hunter2")
    assert "hunter2" not in str(caught.value)
