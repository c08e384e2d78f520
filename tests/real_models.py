"""Real vLLM for tests: tiny models and their servers, each started once, as fixtures of tests/conftest.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_models import TinyModels, inference_python, make_tiny_models
from vllm_server import REWARD, Server, serving


@pytest.fixture(scope="session")
def inference() -> Path:
    """Python of the inference environment."""
    return inference_python()


@pytest.fixture(scope="session")
def tiny(inference: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyModels:
    """Tiny models of one vocabulary."""
    return make_tiny_models(inference, tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def generative_server(
    inference: Path, tiny: TinyModels, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """`tiny-writer` behind `vllm serve`."""
    with serving(inference, tiny.generative, tmp_path_factory.mktemp("serve") / "writer.log") as server:
        yield server


@pytest.fixture(scope="session")
def reward_server(inference: Path, tiny: TinyModels, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`tiny-reward` behind `vllm serve`."""
    with serving(inference, tiny.reward, tmp_path_factory.mktemp("serve") / "reward.log", *REWARD) as server:
        yield server
