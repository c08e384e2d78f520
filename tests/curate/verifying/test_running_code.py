"""Code of a response runs under limits: it ends well, ends badly, or is ended."""

from __future__ import annotations

import os
import time

import pytest

from curate.verifying.code import Code, run
from curate.verifying.contract import Finding

pytestmark = pytest.mark.service


def look(program: str, argument: str = "seconds=1") -> Finding:
    return Code().verify("", f"Here:\n```python\n{program}\n```\nDone.", argument)


def test_a_program_that_ends_well_passes_and_its_tests_are_run_behind_it() -> None:
    double = "def double(x):\n    return 2 * x"
    assert look(double).is_passed is True
    assert look(double, "tests=assert double(2) == 4").is_passed is True
    failed = look(double, "tests=assert double(2) == 5")
    assert (failed.is_passed, failed.evidence) == (False, "ended with 1: AssertionError")


def test_a_program_that_never_ends_is_stopped() -> None:
    began = time.monotonic()
    found = look("while True: pass")
    assert found.is_passed is False
    assert "limits" in found.evidence
    assert time.monotonic() - began < 8


def test_a_program_that_takes_all_memory_fails_alone() -> None:
    assert look("x = bytearray(10**10)", "seconds=1;memory_mb=256").is_passed is False


def test_a_program_sees_nothing_of_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "planted")
    assert look("import os\nassert 'A_SECRET' not in os.environ").is_passed is True


def test_a_child_that_a_program_leaves_behind_is_ended_with_it() -> None:
    found = run(
        "import subprocess, sys\np = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(p.pid, file=sys.stderr)\nsys.exit(3)", cpu_seconds=2, memory_mb=512,
    )
    pid = int(found.evidence.rpartition(" ")[2])
    deadline = time.monotonic() + 5
    while _is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _is_running(pid)


def _is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return os.path.exists(f"/proc/{pid}")
