"""Small training orders for tests: a base made on the spot, pairs that a tiny model learns in seconds."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import polars as pl
from tiny_models import PROGRAM, ROOT, SETTINGS

from schemas.recipe import Tuning
from schemas.tables import LESSONS, READINGS

BASE = "tiny/base"
GOOD, BAD = ("honest", "clear", "careful"), ("sloppy", "rude", "wrong")


def make_base(python: Path, folder: Path) -> Path:
    """A tiny Llama of random weights, with chat template and padding token; about 8 s, nearly all of it imports."""
    texts = [path.read_text() for path in sorted((ROOT / "docs").rglob("*.md"))[:6]]
    asked = json.dumps({"texts": [*texts, *(" ".join(GOOD + BAD) for _ in range(50))], "models": [
        ("generative", 1, str(folder))]})
    done = subprocess.run(
        [python, PROGRAM, "make"], input=asked, env={**SETTINGS, "PATH": "/usr/bin:/bin"}, capture_output=True,
        text=True, check=False, timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def without_manners(base: Path, folder: Path) -> Path:
    """The same base without a chat template, and with the end token as padding, as many bases come."""
    shutil.copytree(base, folder)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    said = json.loads((folder / "tokenizer_config.json").read_text())
    said = {key: value for key, value in said.items() if key != "chat_template"} | {"pad_token": said["eos_token"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(said))
    return folder


def lessons(n: int = 120, *, n_groups: int = 24, is_shuffled: bool = False, words: int = 4) -> pl.DataFrame:
    """`n` pairs whose better answer is made of good words; half of them in a. Shuffled: the label is a coin's."""
    rows = [_lesson(i, n_groups, is_shuffled, words) for i in range(n)]
    return LESSONS.complete(pl.DataFrame(rows))


def readings(n: int = 20) -> pl.DataFrame:
    """`n` responses of which the even ones are good."""
    return READINGS.complete(pl.DataFrame([
        {"response_id": f"r{i:03}", "messages": json.dumps([
            {"role": "user", "content": f"question {i}"},
            {"role": "assistant", "content": _answer(GOOD if i % 2 == 0 else BAD, i, 4)}])}
        for i in range(n)
    ]))


def tuning(**other: Any) -> Tuning:
    """Quick on a CPU: float32, all weights, a learning rate for random weights."""
    return Tuning(**{"base": BASE, "method": "full", "epochs": 1.0, "batch_size": 8, "learning_rate": 1e-3,
                     "max_length": 64, "dtype": "float32", "validation_share": 0.2, **other})


def _lesson(i: int, n_groups: int, is_shuffled: bool, words: int) -> dict[str, Any]:
    good, bad = _answer(GOOD, i, words), _answer(BAD, i + 1, words)
    is_a = i % 2 == 0
    is_labelled_a = is_a if not is_shuffled else (i * 2654435761 >> 7) % 2 == 0
    return {
        "pair_id": f"p{i:04}", "group_id": f"g{i % n_groups}",
        "messages": json.dumps([{"role": "user", "content": f"question {i}"}]),
        "text_a": good if is_a else bad, "text_b": bad if is_a else good, "p_a": 0.95 if is_labelled_a else 0.05,
        "p_tie": 0.0, "strength": 2.0 if is_labelled_a else -2.0, "weight": 1.0,
    }


def _answer(vocabulary: tuple[str, ...], i: int, words: int) -> str:
    return " ".join(vocabulary[(i + at * (1 + i // 3)) % len(vocabulary)] for at in range(words))
