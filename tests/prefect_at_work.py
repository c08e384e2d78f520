"""Prefect for tests: the command line in a clean environment, what the server knows, waiting with a bound."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parents[1]
KEY = "sk-planted-8f1Zq0Lw7RmT"
Found = TypeVar("Found")


def environment(**more: str) -> dict[str, str]:
    """The environment of a person's shell: nothing of Prefect in it."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    return kept | {"OPENAI_API_KEY": KEY, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"} | more


def tiebreak(workspace: Path, *arguments: str, cwd: Path | None = None, **more: str) -> str:
    """What a command printed; it must succeed."""
    command = [sys.executable, "-m", "flows.cli", "--workspace", str(workspace), *arguments]
    done = subprocess.run(
        command, cwd=cwd, env=environment(**more), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def posted(api: str, path: str, body: dict[str, Any]) -> Any:
    """The server's answer; asked again while SQLite is busy (503), as Prefect's own clients do."""
    request = urllib.request.Request(
        f"{api}/{path}", data=json.dumps(body).encode(), headers={"Content-Type": "application/json"}
    )
    for patience in range(6):
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                said = answer.read()
                return json.loads(said) if said else None
        except urllib.error.HTTPError as error:
            if error.code != 503 or patience == 5:
                raise
            time.sleep(2)
    return None


def asked(api: str, what: str, **filters: Any) -> list[dict[str, Any]]:
    """Every row of one of the server's lists."""
    rows: list[dict[str, Any]] = posted(api, f"{what}/filter", {"limit": 200, **filters})
    return rows


def run_now(api: str, deployment: str) -> str:
    """Ask for a run of a deployment, as a person does in the UI; its id."""
    flow, _, name = deployment.partition("/")
    with urllib.request.urlopen(f"{api}/deployments/name/{flow}/{name}", timeout=60) as answer:
        found = json.load(answer)["id"]
    return str(posted(api, f"deployments/{found}/create_flow_run", {"state": {"type": "SCHEDULED"}})["id"])


def state_of(api: str, run: str) -> str:
    """Name of a flow run's state."""
    return str(asked(api, "flow_runs", flow_runs={"id": {"any_": [run]}})[0]["state_name"])


def until(look: Callable[[], Found], seconds: float, every: float = 1.0) -> Found:
    """The first true answer; fails after `seconds`, saying the last."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {found!r}"
        time.sleep(every)
    return found
