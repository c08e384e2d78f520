"""Drift: when two fingerprints of a served model are of the same weights. One rule for endpoints and for rounds."""

from __future__ import annotations

from collections.abc import Sequence

TOLERANCE = 0.1
"""Mean absolute difference up to which weights are taken for the same: another dtype, kernel or batch shape moves a
token by about 0.01 nats in bfloat16. The mean, since a token that was unlikely moves most and says least. Endpoints
that pass for one model are compared again in later rounds, which by another number would refuse what was accepted."""


def drift(before: Sequence[float] | None, now: Sequence[float] | None) -> str:
    """What changed between two fingerprints of a served model (`Serve.fingerprint`), in words; empty for nothing.

    A fingerprint is the log-likelihood in nats of each token of a fixed text, or what a reward model makes of fixed
    answers: other weights give others. Where one of the two is missing nothing can be said, and nothing is.
    """
    if before is None or now is None:
        return ""
    if len(before) != len(now):
        return f"the fixed text has {len(now)} tokens, it had {len(before)}: another tokenizer"
    moved = sum(abs(a - b) for a, b in zip(before, now, strict=True)) / max(len(now), 1)
    if moved <= TOLERANCE:  # false for a NaN
        return ""
    return f"other weights: log-likelihoods of a fixed text moved by {moved:.3f} nats a token, {TOLERANCE:g} is allowed"
