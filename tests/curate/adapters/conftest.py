"""The adapter over the real servers of tests/real_models.py, and the same models in processes of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_models import TinyModels
from vllm_server import Server

from curate.adapters.vllm.in_process import InProcessModels
from curate.adapters.vllm.served import ServedModels
from schemas.sections import Model
from schemas.settings import Endpoint, Settings


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
