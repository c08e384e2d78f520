"""One training program at a time: started, watched for signs of life, ended when it shows none."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from curate.adapters.trl.orders import LOCK, LOG, WORK
from schemas.errors import CallFailedError, InputError, LockHeldError, RefusedError, UserError

PROGRAM = Path(__file__).with_name("program.py")
LOOK_S, SAY_S, LOCK_WAIT_S, STOP_S = 0.2, 10.0, 5.0, 10.0
SHOWN_LINES, SHOWN = 3, 600
FAILED = 3
"""exit code of a program that left a failure.json"""
KINDS: Mapping[str, type[UserError]] = {"base": InputError, "memory": RefusedError, "data": RefusedError}
Say = Callable[[str], None]


@contextlib.contextmanager
def only_trainer(folder: Path) -> Iterator[int]:
    """Hold the order for the duration; gives the descriptor that a child inherits.

    The kernel releases it when the last process that holds it is gone, so a killed carrier's program, in the moment
    before it notices, keeps others out. Raises LockHeldError when another holds it for longer than 5 seconds.
    """
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        deadline = time.monotonic() + LOCK_WAIT_S
        while not _locked(descriptor):
            if time.monotonic() >= deadline:
                raise LockHeldError(
                    f"{folder.name} is being carried out by {_holder(folder)}", expected="one trainer on one order",
                    next="wait for it or stop it; what it has done is kept",
                )
            time.sleep(LOOK_S)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"pid {os.getpid()} on {os.uname().nodename}".encode(), 0)
        yield descriptor
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def run_program(folder: Path, python: Path, descriptor: int, is_local: bool, silence_s: float, say: Say) -> None:
    """Run the program on the folder's work until it is done; its last words become an error of ours.

    Raises InputError for a base that is not there, RefusedError for too little memory or data that cannot be trained
    on, CallFailedError when it died or told nothing for `silence_s` seconds. However this ends, no process is left.
    """
    work = folder / WORK
    (work / "failure.json").unlink(missing_ok=True)
    with (folder / LOG).open("ab") as log:
        process = subprocess.Popen(
            [python.absolute(), PROGRAM, work.resolve()], stdin=subprocess.PIPE, stdout=log, stderr=log,
            pass_fds=(descriptor,), start_new_session=True, env=_environment(is_local), cwd=work,
        )
    try:
        code = _watched(process, folder, silence_s, say)
    finally:
        _end(process)
    if code:
        raise _failure(folder, code)


def _watched(process: subprocess.Popen[bytes], folder: Path, silence_s: float, say: Say) -> int:
    """Its exit code. Progress and whatever the libraries log are signs of life; no clock but ours is read."""
    progress, log = folder / WORK / "progress.json", folder / LOG
    seen, heard, said = (0.0, 0), time.monotonic(), Teller(say)
    while (code := process.poll()) is None:
        now = (progress.stat().st_mtime if progress.is_file() else 0.0, log.stat().st_size)
        if now != seen:
            seen, heard = now, time.monotonic()
            said.tell(progress)
        if time.monotonic() - heard > silence_s:
            raise CallFailedError(
                f"the training of {folder.name} has told nothing for {silence_s:.0f} s and was ended: {_tail(log)}",
                expected="progress at every step", next="run again: it goes on from its checkpoint",
            )
        time.sleep(LOOK_S)
    said.tell(progress)
    return code


class Teller:
    """Says what progress is made, at every new stage and now and then."""

    def __init__(self, say: Say) -> None:
        self._say, self._stage, self._said, self._at = say, "", "", 0.0

    def tell(self, progress: Path) -> None:
        """Read the progress and say it if it is news."""
        if not progress.is_file():
            return
        known = json.loads(progress.read_text())
        stage, is_last = known["stage"], known["step"] == known["steps"]
        key = f"{stage} {is_last} {known.get('n_train', '')}"
        words = _in_words(known)
        if words == self._said or (key == self._stage and time.monotonic() - self._at < SAY_S):
            return
        self._stage, self._said, self._at = key, words, time.monotonic()
        self._say(words)


def _in_words(known: Mapping[str, Any]) -> str:
    if known["stage"] == "training" and known["loss"] is not None:
        return (f"step {known['step']} of {known['steps']}, loss {known['loss']:.3f}, "
                f"{known['tokens_per_second']:.0f} tokens/s")
    if known["stage"] == "loading" and "n_train" in known:
        return (f"{known['n_train']} pairs to train on, {known['n_validation']} to validate; left out: "
                f"{known['n_too_long']} too long, {known['n_unreadable']} that the chat template refuses")
    return str(known["stage"])


def _environment(is_local: bool) -> dict[str, str]:
    """A base in a folder needs nothing of the hub: nothing is asked there."""
    offline = {"HF_HUB_OFFLINE": "1"} if is_local else {}
    return {**os.environ, "DO_NOT_TRACK": "1", "HF_HUB_DISABLE_TELEMETRY": "1", **offline}


def _end(process: subprocess.Popen[bytes]) -> None:
    """The leash first; what is left is killed: the checkpoint is whole, there is nothing to say good-bye to."""
    if process.stdin:
        with contextlib.suppress(OSError):
            process.stdin.close()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(STOP_S)


def _failure(folder: Path, code: int) -> UserError:
    told = folder / WORK / "failure.json"
    if code == FAILED and told.is_file():
        said = json.loads(told.read_text())
        return KINDS[said["kind"]](said["seen"], expected=said["expected"], next=said["next"])
    how = f"signal {-code}, perhaps for want of memory" if code < 0 else f"exit code {code}"
    return CallFailedError(
        f"the training of {folder.name} ended with {how}: {_tail(folder / LOG)}", expected="a trained model",
        next=f"read {LOG} in the order's folder, mend that and run again: it goes on from its checkpoint",
    )


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(folder: Path) -> str:
    return (folder / LOCK).read_text() or "another process"


def _tail(log: Path) -> str:
    """The last lines that say something, as one."""
    said = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return " | ".join(said[-SHOWN_LINES:])[-SHOWN:]
