"""Start a scripted server as a process of its own, change what it does, read its ledger."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from schemas.errors import InternalError

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Request:
    """One line of the ledger."""

    at: float
    """`time.monotonic()` of the machine when its answer left"""
    path: str
    outcome: str
    """served, or what befell it"""
    model: str | None
    question: str
    """`question_id` of its messages, prompt or input"""


class ScriptedServer:
    """A server that runs while the `with` block does. Without `ledger` it keeps none."""

    def __init__(self, model: str = "m", *, ledger: Path | None = None, port: int = 0, **script: Any) -> None:
        command = [sys.executable, "-m", "bench._scripted_server", "--model", model, "--port", str(port)]
        ledgers = ["--ledger", str(ledger)] if ledger else []
        self.model, self._ledger = model, ledger
        self.process = subprocess.Popen(
            [*command, *ledgers], env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True
        )
        said = self.process.stdout.readline() if self.process.stdout else ""
        if not said.strip().isdigit():
            self.stop()
            raise InternalError(f"the scripted server said {said!r}", expected="its port", next="start it by hand")
        self.port = int(said)
        if script:
            self.set(**script)

    @property
    def url(self) -> str:
        """Base address, as settings name it."""
        return f"http://127.0.0.1:{self.port}/v1"

    def set(self, **script: Any) -> None:
        """Change fields of the server's `Script`; a fault is a mapping of the fields of `Fault`."""
        self._control(json.dumps(script).encode())

    def reset(self) -> None:
        """As it was at the beginning, with an empty ledger."""
        self._control(b"{}")
        if self._ledger and self._ledger.is_file():
            os.truncate(self._ledger, 0)

    def seen(self) -> dict[str, Any]:
        """`most_in_flight`, `befell` (faults since the script last changed) and the script."""
        return self._control(None)

    def ledger(self) -> list[Request]:
        """All requests so far, in order; those of an earlier server with the same ledger included."""
        lines = self._ledger.read_text().splitlines() if self._ledger and self._ledger.is_file() else []
        return [Request(**json.loads(line)) for line in lines]

    def bill(self, path: str = "/v1/chat/completions") -> list[str]:
        """Questions that were answered there, repeats included: what a provider would charge for."""
        return [r.question for r in self.ledger() if r.outcome == "served" and r.path == path]

    def kill(self) -> None:
        """End it at once, whatever is in flight."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End it and let go of its pipe."""
        self.kill()
        if self.process.stdout:
            self.process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _control(self, script: bytes | None) -> dict[str, Any]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/control", data=script)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
            seen: dict[str, Any] = json.loads(answer.read())
        return seen
