"""What a model in process is loaded as, before anything heavy is imported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from curate.adapters.vllm.batch_program import dtype_of


@pytest.mark.parametrize(("stored", "runner", "is_on_gpu", "loaded"), [
    ({"dtype": "float32"}, "classify", True, "float32"), ({"torch_dtype": "float32"}, "classify", True, "float32"),
    ({"dtype": "bfloat16"}, "classify", True, "auto"), ({"dtype": "float32"}, "generate", True, "auto"),
    ({}, "classify", True, "auto"), ({"dtype": "bfloat16"}, "classify", False, "float32"),
])
def test_rewards_trained_in_float32_are_read_in_float32(
    tmp_path: Path, stored: dict[str, str], runner: str, is_on_gpu: bool, loaded: str
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(stored))
    assert dtype_of(str(tmp_path), runner, is_on_gpu=is_on_gpu) == loaded


def test_a_model_of_the_hub_is_loaded_as_vllm_chooses() -> None:
    assert dtype_of("organisation/model", "classify", is_on_gpu=True) == "auto"
