"""Training orders on a work pool: put in the queue and waited for here, carried out where a worker stands."""

from __future__ import annotations

import contextvars
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.adapters.trl.carrying_out import carry_out
from curate.adapters.trl.orders import TRAIN, WORK, file_sha256, outcome_of
from curate.engines import TrainingOutcome
from flows.deploying import training_plan
from flows.engines import inference_python
from flows.rounds import Say
from flows.server import point_prefect_at
from schemas.errors import CallFailedError, InputError, RefusedError
from schemas.settings import Settings
from warehouse.workspace import Workspace

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

LOOK_SECONDS = 2.0
Tell = Callable[[str, float, str], None]


def train_on_pool(root: Path, folder: Path, train_sha256: str, settings: Settings, *, say: Say) -> None:
    """Have an order carried out by a worker of the settings' pool; returns when its outcome lies in the folder.

    An outcome that is there is taken as it is, and a run that is under way for the same order is waited for: its
    idempotency key is the order's. Raises RefusedError without a deployment, CallFailedError when the run failed,
    was cancelled, or its machine went silent.
    """
    if outcome_of(folder) is not None:
        return
    workspace = Workspace(root)
    point_prefect_at(workspace)
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        run = _submitted(client, training_plan(workspace, settings.training.pool).full_name, folder, train_sha256)
        say(f"train {folder.name}: {run.name} on pool {settings.training.pool}")
        _await(client, run, folder, 2 * settings.training.silence_s + 60, say)
    if outcome_of(folder) is None:
        raise CallFailedError(
            f"{folder.name}: the worker finished and no outcome is here", expected=f"{folder}/outcome.json",
            next="share the workspace's folder `orders` with the worker's machine",
        )


def carry_out_here(folder: Path, train_sha256: str, settings: Settings, *, say: Say, tell: Tell) -> None:
    """Carry out an order on this machine; `tell` hears its heartbeat as progress.

    Raises InputError when the pairs to train on are not those that were ordered.
    """
    seen = file_sha256(folder / TRAIN) if (folder / TRAIN).is_file() else "no file"
    if seen != train_sha256:
        raise InputError(f"{folder / TRAIN}: {seen}", expected=train_sha256,
                         next="share the workspace's folder `orders` with this machine, or set --workspace here")
    with _heard(folder / WORK / "progress.json", tell):
        trained_here(folder, settings, say)


def trained_here(folder: Path, settings: Settings, say: Say) -> TrainingOutcome:
    """The outcome of an order that is carried out on this machine as the settings have it."""
    workshop = settings.training
    return carry_out(
        folder, python=inference_python(settings), bases={b.base: b.folder for b in workshop.bases},
        device_batch_size=workshop.device_batch_size, silence_s=workshop.silence_s, say=say,
    )


def _submitted(client: SyncPrefectClient, deployment: str, folder: Path, train_sha256: str) -> FlowRun:
    """The run of this order that is not over yet, or a new one: the first key that no finished run has."""
    from prefect.exceptions import ObjectNotFound

    try:
        found = client.read_deployment_by_name(deployment)
    except ObjectNotFound as error:
        raise RefusedError(f"no deployment {deployment}", expected="training.pool to be deployed",
                           next="tiebreak deploy") from error
    order, attempt = {"order_folder": str(folder.resolve()), "train_sha256": train_sha256}, 0
    while True:
        run = client.create_flow_run_from_deployment(
            found.id, parameters=order, name=f"train-{folder.name}-{attempt + 1}",
            idempotency_key=f"{folder.name}-{train_sha256[:16]}-{attempt}",
        )
        if run.state is None or not run.state.is_final():
            return run
        attempt += 1


def _await(client: SyncPrefectClient, run: FlowRun, folder: Path, silence_s: float, say: Say) -> None:
    """Until the run is over, or nothing in the order's folder changed for `silence_s` since a worker took it.

    A run that waits for a worker or for its turn may wait for ever; one that is pending, running or cancelling has a
    machine, which may be gone.
    """
    from prefect.states import Crashed

    told, mark, heard_at = "", -1, time.monotonic()
    while True:
        state = client.read_flow_run(run.id).state
        if state is not None and state.name != told:
            told = state.name or ""
            say(f"train {folder.name}: {told.lower()}")
        if state is not None and state.is_final():
            if state.is_completed():
                return
            raise CallFailedError(f"train {folder.name}: {told.lower()}: {state.message or 'no reason given'}",
                                  expected="an outcome", next="look at the run in Prefect's UI, then tiebreak retrain")
        # Marks of change, not times: the other machine's clock is its own.
        if (seen := _last_change(folder)) != mark or state is None or state.is_scheduled():
            mark, heard_at = seen, time.monotonic()
        elif time.monotonic() - heard_at > silence_s:
            gone = f"its machine has told nothing for {silence_s:.0f} s"
            client.set_flow_run_state(run.id, Crashed(message=gone), force=True)
        time.sleep(LOOK_SECONDS)


def _last_change(folder: Path) -> int:
    return max((p.stat().st_mtime_ns for p in (folder, *folder.glob("*"), *(folder / WORK).glob("*")) if p.exists()),
               default=0)


@contextmanager
def _heard(heartbeat: Path, tell: Tell) -> Iterator[None]:
    """Tell what the heartbeat file says, every few seconds, from a thread that knows the flow run."""
    over = threading.Event()

    def listen() -> None:
        last = ""
        while not over.wait(LOOK_SECONDS):
            share, said = _progress(heartbeat)
            if said and said != last:
                tell("training", share, last := said)

    context = contextvars.copy_context()
    listener = threading.Thread(target=lambda: context.run(listen), daemon=True)
    listener.start()
    try:
        yield
    finally:
        over.set()
        listener.join(timeout=30)


def _progress(heartbeat: Path) -> tuple[float, str]:
    """(percent, words) of `progress.json`; no words while there is none."""
    try:
        said: dict[str, Any] = json.loads(heartbeat.read_text())
        step, steps = int(said.get("step") or 0), int(said.get("steps") or 0)
    except (OSError, ValueError, TypeError, AttributeError):
        return 0.0, ""
    facts = [str(said.get("stage", "")), f"step {step:,} of {steps:,}" if steps else ""]
    facts += [f"loss {said['loss']:.3f}" if isinstance(said.get("loss"), int | float) else ""]
    facts += [f"{said['tokens_per_second']:,.0f} tokens/s" if said.get("tokens_per_second") else ""]
    return 100 * step / steps if steps else 0.0, ", ".join(fact for fact in facts if fact)
