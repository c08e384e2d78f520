"""Pseudonyms of annotators: a keyed hash, so that nobody without the key can tell who a voter is.

A platform's user ids are small numbers: a hash without a key would be undone by counting. HMAC-SHA-256 (RFC 2104).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

import polars as pl

from schemas.errors import RecipeError

MIN_KEY_BYTES = 16


def pseudonym(user: str, installation: str, key: bytes) -> str:
    """`annotator-` and 12 hex digits: the same for one user of one installation under one key, whoever asks.

    Raises RecipeError for a key below 16 bytes; neither the key nor the user is quoted.
    """
    if len(key) < MIN_KEY_BYTES:
        raise RecipeError(
            f"a pseudonym key of {len(key)} bytes", expected=f"{MIN_KEY_BYTES} or more",
            next="make one with `openssl rand -hex 32`, keep it beside the tokens, and never change it",
        )
    # Lengths first: ("ab", "c") and ("a", "bc") are two people.
    message = "".join(f"{len(part.encode())}:{part}" for part in ("annotator", installation, user))
    return f"annotator-{hmac.new(key, message.encode(), hashlib.sha256).hexdigest()[:12]}"


def pseudonyms(users: Iterable[str | None], installation: str, key: bytes) -> pl.DataFrame:
    """(user, voter) of each distinct user, sorted; null has no pseudonym and is left out. Raises as `pseudonym`."""
    known = sorted({user for user in users if user is not None})
    voters = [pseudonym(user, installation, key) for user in known]
    return pl.DataFrame({"user": known, "voter": voters}, schema={"user": pl.String, "voter": pl.String})
