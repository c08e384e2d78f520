"""What every test may rely on: a clean environment, a seed for kills, the way to real data."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from label_studio_server import browser, label_studio, label_studio_program
from real_models import generative_server, inference, reward_server, tiny

from warehouse.store import Store

__all__ = [  # fixtures of every folder
    "browser", "generative_server", "inference", "label_studio", "label_studio_program", "reward_server", "tiny",
]
ROOT = Path(__file__).resolve().parents[1]
CONTROLS = (
    "TIEBREAK_DATA", "TIEBREAK_REQUIRE", "TIEBREAK_SEED", "TIEBREAK_KILLS", "TIEBREAK_FAULTS", "TIEBREAK_INFERENCE",
    "TIEBREAK_LABEL_STUDIO",
)
DEFAULT_SEED = "20261121"

settings.register_profile("ours", deadline=None, max_examples=12, derandomize="CI" in os.environ)
settings.load_profile("ours")


def pytest_configure(config: pytest.Config) -> None:
    """Isolate before any test module is imported: Prefect reads its settings on import."""
    home = tempfile.mkdtemp(prefix="tiebreak-prefect-")
    config.add_cleanup(lambda: shutil.rmtree(home, ignore_errors=True))
    leftovers = [k for k in os.environ if k.startswith(("PREFECT_", "TIEBREAK_")) and k not in CONTROLS]
    for name in leftovers:
        del os.environ[name]
    os.environ |= {
        "PREFECT_HOME": home,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "TIEBREAK_SEED": os.environ.get("TIEBREAK_SEED", DEFAULT_SEED),
    }


def pytest_report_header() -> str:
    seed = os.environ["TIEBREAK_SEED"]
    return f"kill seed {seed}; the same kills again: TIEBREAK_SEED={seed} make test"


@pytest.fixture(scope="session")
def kill_seed() -> int:
    """Seed of every random moment of killing, printed in the header."""
    return int(os.environ["TIEBREAK_SEED"])


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real preference sets; skips without it, fails where TIEBREAK_REQUIRE names "data"."""
    folder = Path(os.environ.get("TIEBREAK_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        missing = f"no real data at {folder}; next: TIEBREAK_DATA=/path make test"
        if "data" in os.environ.get("TIEBREAK_REQUIRE", ""):
            pytest.fail(missing)
        pytest.skip(missing)
    return folder


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose database has its tables: copying it takes 5 ms, making it 130."""
    store = Store(tmp_path_factory.mktemp("migrated") / "ws")
    store.workspace.create()
    with store.write("test") as writer:
        writer.publish()
    return store.workspace.root


@pytest.fixture
def store(migrated: Path, tmp_path: Path) -> Store:
    """A store over an empty workspace of this test's own."""
    root = tmp_path / "ws"
    shutil.copytree(migrated, root)
    return Store(root, lock_wait=0.2)
