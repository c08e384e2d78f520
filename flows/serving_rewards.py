"""`tiebreak serve-rm`: a trained reward model behind vLLM."""

from __future__ import annotations

from pathlib import Path

from flows.rounds import Say
from schemas.errors import NotThereYetError


def serve(root: Path, model: str | None, dataset: str | None, port: int, say: Say) -> None:
    """Serve a model until the process is stopped."""
    raise NotThereYetError("`tiebreak serve-rm` is not there yet", next="vllm serve, see docs/vllm.md")
