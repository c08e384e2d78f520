"""Real vLLM for the adapter's tests: tiny models, servers and children, each started once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_models import TinyModels, inference_python, make_tiny_models
from vllm_server import REWARD, Server, serving

from curate.adapters.vllm.in_process import InProcessModels
from curate.adapters.vllm.served import ServedModels
from schemas.sections import Model
from schemas.settings import Endpoint, Settings


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


@pytest.fixture(scope="session")
def served(generative_server: Server, reward_server: Server) -> Iterator[ServedModels]:
    """The adapter over both servers; the recipe names them `writer` and `reward`."""
    servers = {"writer": generative_server, "reward": reward_server}
    engine = ServedModels(
        [Model(name=name, model=server.model) for name, server in servers.items()],
        Settings(endpoints=tuple(Endpoint(model=s.model, url=s.url, concurrency=16) for s in servers.values())),
        secret=lambda name: pytest.fail(f"no secret is needed, {name} is asked"),
    )
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def own(inference: Path, tiny: TinyModels) -> Iterator[InProcessModels]:
    """The same models in processes of their own, and two more: `other` (other weights) and `embedder`."""
    folders = {"writer": tiny.generative, "other": tiny.other, "reward": tiny.reward, "embedder": tiny.embedder}
    engine = InProcessModels(
        [Model(name=name, model=folder.name) for name, folder in folders.items()],
        Settings(in_process=tuple(f"{f.name}={f}" for f in folders.values()), inference_python=str(inference)),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")  # a folder needs nothing of the Hub
        yield engine
    engine.close()
