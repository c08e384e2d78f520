"""A real `vllm serve` on a CPU and a free loopback port, for as long as a `with` lasts."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

ON_A_CPU = {
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}
ALWAYS = (
    "--host", "127.0.0.1", "--enforce-eager", "--dtype", "float32", "--max-model-len", "2048",
    "--structured-outputs-config", '{"backend":"xgrammar","disable_any_whitespace":true}',
)
REWARD = ("--runner", "pooling", "--convert", "classify")
START_S = 600.0


@dataclass(frozen=True)
class Server:
    """One running server."""

    url: str
    """with /v1"""
    model: str
    """name under which the model is served"""
    start_s: float
    """seconds from its start to its health"""

    @property
    def root(self) -> str:
        """Address without /v1, where /classify, /tokenize and /health are."""
        return self.url.removesuffix("/v1")


@contextlib.contextmanager
def serving(python: Path, model: Path, log: Path, *options: str) -> Iterator[Server]:
    """Serve `model` under its folder's name; whatever happens, nothing of it is left running."""
    port = _free_port()
    command = [
        str(python), "-m", "vllm.entrypoints.cli.main", "serve", str(model), "--served-model-name", model.name,
        "--port", str(port), *ALWAYS, *options,
    ]
    with log.open("wb") as written, subprocess.Popen(
        command, env=os.environ | ON_A_CPU, stdin=subprocess.DEVNULL, stdout=written, stderr=subprocess.STDOUT,
        start_new_session=True,  # a group of its own: the engine is a child of the server
    ) as process:
        try:
            seconds = _wait_for_health(process, f"http://127.0.0.1:{port}", log)
            yield Server(f"http://127.0.0.1:{port}/v1", model.name, seconds)
        finally:
            stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the whole group, SIGKILL to what is left after 10 s."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=10)
    with contextlib.suppress(ProcessLookupError):  # also children that outlived their parent
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _wait_for_health(process: subprocess.Popen[bytes], root: str, log: Path) -> float:
    """Seconds until /health answers 200."""
    started = time.monotonic()
    while time.monotonic() - started < START_S:
        assert process.poll() is None, f"vllm serve ended with {process.returncode}:\n{_tail(log)}"
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{root}/health", timeout=5).status_code == 200:
                return time.monotonic() - started
        time.sleep(0.5)
    raise AssertionError(f"vllm serve was not healthy after {START_S:.0f} s:\n{_tail(log)}")


def _tail(log: Path, lines: int = 30) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
