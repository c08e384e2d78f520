"""`tiebreak serve-rm`: a trained reward model behind vLLM, on this machine, until it is stopped.

While it runs a note in the workspace tells rounds where it is, and a lock that dies with this process tells whether
the note is true. Before the note is written the server is held to the rewards that are recorded of the model.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import polars as pl

from curate.adapters.vllm.batch_program import ALWAYS, ON_A_CPU, has_gpu
from flows.engines import inference_python, served
from flows.reaching import Note, checked_folder, lock_file, note_file, read_note, write_note
from flows.rounds import Say
from flows.settings import serving_settings
from flows.trained import Trained, probes_of, refuse_unlike, trained_from
from schemas.errors import CallFailedError, InputError, RefusedError
from schemas.settings import Endpoint, Settings
from warehouse.lock import writer_lock
from warehouse.store import Store, Writer
from warehouse.workspace import Workspace

LEASH = Path(__file__).with_name("leash.py")
START_S, LOOK_S, STOP_S = 1800.0, 0.5, 10.0
SHOWN_LINES, SHOWN = 3, 600


def serve(root: Path, model: str | None, dataset: str | None, port: int, say: Say) -> None:
    """Serve a model, by default the promoted one of the dataset, until Ctrl-C or SIGTERM.

    Raises InputError for an unknown model, RefusedError for a head on features, changed weights or a server that
    answers otherwise than recorded, LockHeldError while another process serves it, RecipeError without an environment
    that holds vLLM, CallFailedError when vLLM ends.
    """
    store = Store(root)
    settings = serving_settings(store.workspace.require())
    python = inference_python(settings)
    with store.write("serve-rm") as writer:
        chosen = _chosen(writer, model, dataset)
        probes = probes_of(writer, chosen)
    folder = checked_folder(store.workspace, chosen)
    store.workspace.serving.mkdir(exist_ok=True)
    with _until_stopped(), writer_lock(lock_file(store.workspace, chosen.name), "serve-rm", wait=LOOK_S):
        _end_leftover(store.workspace, chosen)
        _serve(store.workspace, settings, chosen, _command(python, folder, chosen, port or _free_port()), probes, say)


def _serve(
    workspace: Workspace, settings: Settings, model: Trained, command: list[str], probes: pl.DataFrame, say: Say
) -> None:
    url, log = f"http://127.0.0.1:{command[-1]}", workspace.serving / f"{model.name}.log"
    say(f"{model.voter}: starting vLLM, what it says is in {log}")
    with _running(command, log) as process:
        _await_health(process, url, log)
        n = _compared(settings, model, f"{url}/v1", probes)
        write_note(workspace, Note(f"{url}/v1", model.name, process.pid, model.sha256))
        try:
            say(f"{model.voter} at {url}/v1, pid {process.pid}; {n} rewards equal those recorded; Ctrl-C stops it")
            raise CallFailedError(f"vLLM ended with {process.wait()}: {_tail(log)}", next=f"read {log}")
        finally:
            note_file(workspace, model.name).unlink(missing_ok=True)


def _chosen(writer: Writer, model: str | None, dataset: str | None) -> Trained:
    """The named model, else the one that is promoted. Raises InputError or RefusedError saying which there are."""
    datasets = [dataset] if dataset else writer.query("datasets")["dataset"].to_list()
    rows = writer.query("model_of", model=model or "")
    if model is None:
        rows = pl.concat([rows, *(writer.query("incumbent", dataset=name) for name in datasets)])
    if rows.height != 1:
        known = ", ".join(rows["model"]) or "none"
        raise InputError(f"{model or 'promoted models'}: {known}", expected="one model", next="tiebreak models")
    row = rows.row(0, named=True)
    if row["kind"] != "trl":
        raise RefusedError(
            f"{row['model']} is a head on features ({row['kind']})", expected="a language model",
            next="nothing: rounds score with a head in their own process, no server is needed")
    return trained_from(row)


def _command(python: Path, folder: Path, model: Trained, port: int) -> list[str]:
    """vLLM for raw rewards, on loopback only; the port comes last."""
    on_a_cpu = [] if has_gpu() else ["--enforce-eager"]
    return [
        str(python.absolute()), "-m", "vllm.entrypoints.cli.main", "serve", str(folder), "--served-model-name",
        model.voter, "--runner", "pooling", "--convert", "classify", "--dtype", model.dtype, *on_a_cpu,
        "--host", "127.0.0.1", "--port", str(port),
    ]


@contextmanager
def _running(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The command in a group of its own, on a leash; whatever happens, nothing of it is left running."""
    ours = ALWAYS | {"HF_HUB_OFFLINE": "1"} | ({} if has_gpu() else ON_A_CPU)
    ours.pop("VLLM_ENABLE_V1_MULTIPROCESSING")  # that is for vLLM in process
    with log.open("wb") as written:
        process = subprocess.Popen(
            [sys.executable, str(LEASH), str(os.getpid()), *command], env=ours | os.environ, stdin=subprocess.DEVNULL,
            stdout=written, stderr=subprocess.STDOUT, start_new_session=True,
        )
    try:
        yield process
    finally:
        _end_group(process.pid)
        process.wait()


def _end_group(leader: int) -> None:
    """SIGTERM to a process group, SIGKILL to what is left of it after ten seconds."""
    for how, patience in ((signal.SIGTERM, STOP_S), (signal.SIGKILL, 1.0)):
        deadline = time.monotonic() + patience
        with contextlib.suppress(ProcessLookupError):
            os.killpg(leader, how)
            while time.monotonic() < deadline:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(leader, os.WNOHANG)
                os.killpg(leader, 0)
                time.sleep(0.1)


def _await_health(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Until /health answers. Raises CallFailedError when vLLM ends, or takes longer than half an hour."""
    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(f"{url}/health", timeout=5):
            return
        time.sleep(LOOK_S)
    raise CallFailedError(f"vLLM did not come up ({process.poll()}): {_tail(log)}", next=f"read {log}")


def _compared(settings: Settings, model: Trained, url: str, probes: pl.DataFrame) -> int:
    """How many recorded rewards the server was asked for again. Raises RefusedError when it says others."""
    here = settings.model_copy(update={"endpoints": (Endpoint(model=model.voter, url=url),), "in_process": ()})
    with closing(served((model.served,), here)) as serve:
        return refuse_unlike(model, probes, lambda requests: serve.ask("score", requests))


@contextmanager
def _until_stopped() -> Iterator[None]:
    """Ctrl-C and SIGTERM end the block like an end."""
    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end_leftover(workspace: Workspace, model: Trained) -> None:
    """What a killed server left: its note, and vLLM where it outlived the leash. The lock is ours: nobody serves it."""
    note = read_note(workspace, model.name)
    if note is None:
        return
    if model.voter.encode() in _words(note.pid):
        _end_group(note.pid)
    note_file(workspace, model.name).unlink(missing_ok=True)


def _words(pid: int) -> list[bytes]:
    """The command of a process; none when it is gone: its number may be a stranger's."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def _tail(log: Path) -> str:
    said = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return " | ".join(said[-SHOWN_LINES:])[-SHOWN:]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
