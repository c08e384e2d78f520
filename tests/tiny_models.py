"""Tiny models made on the spot by the inference environment, and what transformers says of them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = Path(__file__).with_name("transformers_program.py")
SETTINGS = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}


@dataclass(frozen=True)
class TinyModels:
    """Folders of models of one vocabulary, each named as it is served."""

    generative: Path
    other: Path
    """`generative` of another seed"""
    reward: Path
    """one number per conversation"""
    embedder: Path
    """mean over tokens, length one"""


def inference_python() -> Path:
    """Python of the inference environment; skips without one, fails where TIEBREAK_REQUIRE names "vllm"."""
    python = Path(os.environ.get("TIEBREAK_INFERENCE") or ROOT / ".venv-inference" / "bin" / "python")
    if not python.is_file():
        missing = "no inference environment; next: make inference"
        if "vllm" in os.environ.get("TIEBREAK_REQUIRE", ""):
            pytest.fail(missing)
        pytest.skip(missing)
    return python


def make_tiny_models(python: Path, folder: Path) -> TinyModels:
    """One model of each kind in `folder`, random weights of fixed seeds; about 8 s, nearly all of it imports."""
    made = TinyModels(*(folder / name for name in ("tiny-writer", "tiny-other", "tiny-reward", "tiny-embedder")))
    models = [
        ("generative", 1, str(made.generative)), ("generative", 2, str(made.other)),
        ("reward", 3, str(made.reward)), ("embedder", 4, str(made.embedder)),
    ]
    texts = [path.read_text() for path in sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])]
    _run(python, "make", {"texts": texts, "models": models})
    return made


def ask_transformers(python: Path, questions: Sequence[dict[str, Any]]) -> list[Any]:
    """What Hugging Face's transformers answers, in order: see `transformers_program.py`."""
    answers: list[Any] = json.loads(_run(python, "answer", list(questions)))
    return answers


def _run(python: Path, what: str, asked: object) -> str:
    done = subprocess.run(
        [python, PROGRAM, what], input=json.dumps(asked), env=os.environ | SETTINGS, capture_output=True, text=True,
        check=False, timeout=300,
    )
    assert done.returncode == 0, f"{PROGRAM.name} {what} failed:\n{done.stderr[-2000:]}"
    return done.stdout
