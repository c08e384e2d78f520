"""The code verifier: Python of a response is run, under limits, and has to end well.

Off unless a recipe names it. **This is no security sandbox.** The program runs as the user who runs Tiebreak: it
can read that user's files. What it gets: a folder and a process group of its own, an empty environment, Python's
isolated mode, limits on processor time, memory, file size and open files, the network cut off where the kernel lets
an ordinary user do so. Run it only on responses of models that you would let write on your machine, or on a machine
that holds nothing else.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from curate.verifying.contract import Finding, number, options

_FENCE = re.compile(r"^```[ \t]*(?:python|python3|py)?[ \t]*\r?\n(.*?)^```", re.DOTALL | re.MULTILINE | re.IGNORECASE)
_KILLED_BY_LIMIT = (-signal.SIGXCPU, -signal.SIGKILL)
_CPU_TO_WALL, _WALL_EXTRA = 4.0, 5.0
"""seconds of the clock per second of processor time: a loaded machine is slow, and no fault of the response"""
_SHOWN = 160

_LAUNCHER = """
import ctypes, os, resource, sys
cpu, memory, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
NEW_USER, NEW_NETWORK = 0x10000000, 0x40000000
ctypes.CDLL(None).unshare(NEW_USER | NEW_NETWORK)  # refused by some kernels: then the network stays
for what, most in ((resource.RLIMIT_CPU, cpu), (resource.RLIMIT_AS, memory), (resource.RLIMIT_FSIZE, 1 << 24),
                   (resource.RLIMIT_NOFILE, 64), (resource.RLIMIT_CORE, 0)):
    resource.setrlimit(what, (most, most))
os.execv(sys.executable, [sys.executable, "-I", path])
"""


class Code:
    """`code:seconds=5;memory_mb=512;tests={{tests}}`: all Python fences of the response, then the tests, end with 0."""

    name = "code"

    def verify(self, prompt: str, response: str, argument: str) -> Finding:
        """Passes when the program ends with 0; cannot tell when only the clock stopped it."""
        said = options(argument, {"seconds": "5", "memory_mb": "512", "tests": ""}, verifier=self.name)
        seconds, memory = (number(said[key], verifier=self.name, option=key) for key in ("seconds", "memory_mb"))
        blocks = _FENCE.findall(response)
        if not blocks:
            return Finding(False, evidence="no Python between code fences")
        return run("\n".join([*blocks, said["tests"]]), cpu_seconds=max(1, round(seconds)), memory_mb=round(memory))


def run(program: str, *, cpu_seconds: int, memory_mb: int) -> Finding:
    """Run a Python program in a folder of its own under limits; what came of it."""
    with tempfile.TemporaryDirectory(prefix="tiebreak-code-") as folder:
        path, heard = Path(folder) / "program.py", Path(folder) / "stderr"
        path.write_text(program, encoding="utf-8", errors="replace")
        limits = [str(cpu_seconds), str(memory_mb << 20)]
        code = _ended([sys.executable, "-I", "-c", _LAUNCHER, *limits, str(path)], heard, cpu_seconds)
        # The folder's name is chance and would make equal findings unequal.
        complaint = heard.read_bytes()[-4_000:].decode("utf-8", "replace").replace(folder, ".").strip()
    if code is None:
        return Finding(None, evidence="stopped by the clock")
    if code in _KILLED_BY_LIMIT:
        return Finding(False, evidence=f"stopped by its limits: {cpu_seconds} s of processor time, {memory_mb} MB")
    last = complaint.splitlines()[-1][:_SHOWN] if complaint else ""
    return Finding(code == 0, evidence="ended well" if code == 0 else f"ended with {code}: {last}")


def _ended(command: list[str], heard: Path, cpu_seconds: int) -> int | None:
    """Exit code of a command, None when the clock ran out. Nothing of its process group is left behind."""
    with heard.open("wb") as errors:
        child = subprocess.Popen(
            command, cwd=heard.parent, env={}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors,
            start_new_session=True,
        )
        try:
            return child.wait(timeout=_CPU_TO_WALL * cpu_seconds + _WALL_EXTRA)
        except subprocess.TimeoutExpired:
            return None
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
