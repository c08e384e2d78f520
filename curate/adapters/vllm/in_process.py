"""vLLM in a process of its own, without a server: batches of scores, embeddings, texts and likelihoods.

vLLM lives in an environment that excludes ours (its pins), so `batch_program.py` runs there as a child and speaks
JSON lines. A child holds one model and lives as long as we do; calls of all threads join its running batch.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from curate.adapters.vllm.bodies import SAMPLING, max_tokens, messages_of, prefix_body
from curate.adapters.vllm.contact import FIXED_TEXT, fixed_conversations, of_rewards
from curate.adapters.vllm.limits import SharedClock, cost_of
from curate.adapters.vllm.repair import fault_of
from curate.adapters.vllm.replies import (
    Said,
    chat_said,
    embedding_said,
    likelihood_said,
    prompt_logprobs,
    reward_said,
)
from curate.engines import CallReply, CallRequest, Kind
from schemas.errors import CallFailedError, RecipeError
from schemas.sections import Model
from schemas.settings import Settings

PROGRAM = Path(__file__).with_name("batch_program.py")
PYTHON = ".venv-inference/bin/python"
RUNNER: dict[str, str] = {"score": "classify", "embed": "embed"}
"""what a model must be loaded as; everything else: generate"""
STOP_S = 10.0
SHOWN_LINES, SHOWN = 3, 600
Lines = queue.SimpleQueue[tuple[CallRequest | None, dict[str, Any]]]


class InProcessModels:
    """Models of `settings.in_process`: entries `served-name=folder-or-id`, or a name that is a folder or id itself.

    A model is loaded at its first call: seconds for a small one, minutes for a large one.
    """

    def __init__(self, models: Sequence[Model], settings: Settings) -> None:
        self._models = {model.name: model for model in models}
        self._settings = settings
        self._places = places(settings)
        self._children: dict[tuple[str, str], _Child] = {}
        self._lock = threading.Lock()

    def ask(self, kind: Kind, requests: Sequence[CallRequest]) -> Iterator[CallReply]:
        """One reply per answered request, in any order, each as soon as it is known; safe in several threads.

        Replies are those of the server, read by the same functions, with two differences: JSON that breaks its
        schema despite the constraint is "invalid_json" at once, and there are no attempts and no time limit.
        Raises RecipeError for a model that is not named in `in_process` or has no Python to run in, InputError for
        messages that are none, and CallFailedError after the last reply when a child died.
        """
        lines, runner = Lines(), RUNNER.get(kind, "generate")
        names = dict.fromkeys(request.voter for request in requests)
        for name, child in {name: self._child(name, runner) for name in names}.items():
            child.send(kind, [request for request in requests if request.voter == name], lines)
        failures: list[str] = []
        for _ in requests:
            request, line = lines.get()
            if request is None:
                failures.append(line["end"])
            else:
                yield self._reply(kind, request, line)
        if failures:
            raise CallFailedError(
                f"{len(failures)} of {len(requests)} calls in process got no answer: {failures[0]}",
                next="mend that and run again: what was answered is recorded",
            )

    def fingerprint(self, name: str) -> tuple[float, ...] | None:
        """Log-likelihoods of a fixed text's tokens in nats, or a reward model's rewards; None of an embedder.

        The text is the one that servers are asked, and the numbers are theirs. Raises what `ask` raises.
        """
        with self._lock:
            loaded = next((runner for known, runner in self._children if known == name), "auto")
        child, lines = self._child(name, loaded), Lines()
        if child.wait() == "classify":
            return self._rewards(name)
        if child.wait() not in ("generate", ""):
            return None
        child.send("fingerprint", [CallRequest("", name, "", FIXED_TEXT)], lines)
        request, line = lines.get()
        if request is None or "refusal" in line:
            said = line.get("refusal") or line["end"]
            raise CallFailedError(f"no fingerprint of {name!r}: {said}", next="check the model and run again")
        return tuple(x for x in prompt_logprobs(line["prompt_logprobs"]) if x is not None)

    def _rewards(self, name: str) -> tuple[float, ...]:
        requests = [
            CallRequest(f"{at}", name, "", "", messages=json.dumps(turns))
            for at, turns in enumerate(fixed_conversations())
        ]
        said = {reply.call_key: float(reply.response) for reply in self.ask("score", requests)}
        return of_rewards([said[request.call_key] for request in requests])

    def close(self) -> None:
        """Stop all children."""
        with self._lock:
            children, self._children = list(self._children.values()), {}
        for child in children:
            child.stop()

    def _child(self, name: str, runner: str) -> _Child:
        """The child that holds a model; an automatic one stands for whatever it turned out to be."""
        with self._lock:
            for known in ((name, runner), (name, "auto")):
                child = self._children.get(known)
                if child is not None and runner in (known[1], child.runner):
                    return child
            return self._children.setdefault((name, runner), self._start(name, runner))

    def _start(self, name: str, runner: str) -> _Child:
        model = self._models.get(name)
        if model is None or model.model not in self._places:
            raise RecipeError(
                f"model {name!r} does not run in process", expected=f"one of {sorted(self._places)}",
                next='name it in settings.toml: in_process = ["served-name=folder"]',
            )
        place = self._places[model.model]
        # A folder's revision is whatever lies in it; only the Hub knows others.
        revision = "" if Path(place).is_dir() else model.revision
        return _Child(self._python(), {"model": place, "revision": revision, "runner": runner})

    def _python(self) -> Path:
        python = Path(self._settings.inference_python or PYTHON)
        if not python.is_file():
            raise RecipeError(
                f"no Python at {python}", expected="an environment that holds vLLM",
                next="make inference, or set inference_python in settings.toml",
            )
        return python

    def _reply(self, kind: Kind, request: CallRequest, line: dict[str, Any]) -> CallReply:
        said, seconds = _said(kind, request, line), line["seconds"]
        price = self._settings.price_of(self._models[request.voter].model)
        return CallReply(
            request.call_key, said.response, said.finish_reason, said.choice_logprobs, said.prompt_tokens,
            said.output_tokens, seconds, cost_of(price, said.prompt_tokens, said.billed_tokens, seconds),
            said.logprob_sum,
        )


def _said(kind: Kind, request: CallRequest, line: dict[str, Any]) -> Said:
    """The answer as the server's would be read; a refusal is one too: it would come again."""
    if "refusal" in line:
        return Said(line["refusal"], "bad_request")
    if kind == "score":
        return reward_said(line)
    if kind == "embed":
        return embedding_said(line)
    if kind == "likelihood":
        return likelihood_said(line["prefix"])(line)
    said = chat_said(request, is_constrained=True)(line)
    has_schema = request.schema and not request.choices and said.finish_reason == "stop"
    is_broken = has_schema and fault_of(said.response, request.schema)
    return replace(said, finish_reason="invalid_json") if is_broken else said


class _Child:
    """One `batch_program.py` with one model. Ends with its input, so it never outlives us by more than a batch."""

    def __init__(self, python: Path, asked: dict[str, str]) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="tiebreak-vllm-"))
        self._log = self._folder / "vllm.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [python, PROGRAM, json.dumps(asked)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                text=True, encoding="utf-8", start_new_session=True,  # a group of its own: vLLM may start workers
            )
        self.runner = ""
        """what the model turned out to be; empty while it is loading"""
        self._ready, self._lock, self._writing, self._n_sent = threading.Event(), threading.Lock(), threading.Lock(), 0
        self._open: dict[int, tuple[CallRequest, float, Lines]] = {}
        self._clock, self._end = SharedClock(time.monotonic()), ""
        self.stop = weakref.finalize(self, _stop, self._process, self._folder, os.getpid())
        """once, at our exit at the latest"""
        threading.Thread(target=self._listen, daemon=True).start()

    def wait(self) -> str:
        """What the model turned out to be, once it is loaded; empty when it could not be."""
        self._ready.wait()
        return self.runner

    def send(self, kind: str, requests: Sequence[CallRequest], lines: Lines) -> None:
        """Ask; each answer, or what went wrong instead of it, is put into `lines` when it is known."""
        questions = [_question(kind, request) for request in requests]
        self._ready.wait()
        sent = []
        with self._lock:
            for request, question in zip(requests, questions, strict=True):
                self._n_sent += 1
                self._open[self._n_sent] = (request, self._clock.begin(time.monotonic()), lines)
                sent.append(json.dumps({"id": self._n_sent, **question}) + "\n")
            if self._end:
                self._give_up()
                return
        # `_listen` sees the end too, and says so.
        with self._writing, contextlib.suppress(BrokenPipeError, ValueError):
            if self._process.stdin:
                self._process.stdin.writelines(sent)
                self._process.stdin.flush()

    def _listen(self) -> None:
        for text in self._process.stdout or ():
            if text.endswith("\n"):  # a killed child leaves half a line
                self._take(json.loads(text))
        code = self._process.wait()
        with self._lock, contextlib.closing(self._process.stdout or io.StringIO()):
            self._end = f"vLLM ended with {code}: {_tail(self._log)}; all it said: {self._log}"
            self._give_up()
        self._ready.set()

    def _take(self, line: dict[str, Any]) -> None:
        """One line of the child: that it is ready, or a reply."""
        if "ready" in line:
            self.runner = line["ready"]
            self._ready.set()
            return
        with self._lock:
            request, mark, lines = self._open.pop(line["id"])
            line["seconds"] = self._clock.end(mark, time.monotonic())
        lines.put((request, line))

    def _give_up(self) -> None:
        """Whatever was asked of a child that is no more has failed."""
        while self._open:
            _, (_, mark, lines) = self._open.popitem()
            self._clock.end(mark, time.monotonic())
            lines.put((None, {"end": self._end}))


def _question(kind: str, request: CallRequest) -> dict[str, Any]:
    """What the server is sent, read by the same functions. Raises InputError for messages that are none."""
    if kind == "likelihood":
        prefix_body(request, served="")  # refuses messages that end with no assistant's
    parameters = {name: value for name, value in request.parameters.items() if name in SAMPLING}
    return {
        "kind": kind, "messages": [] if kind in ("embed", "fingerprint") else messages_of(request),
        "prompt": request.prompt, "choices": list(request.choices), "schema": request.schema,
        "parameters": parameters | {"max_tokens": max_tokens(request)},
    }


def places(settings: Settings) -> dict[str, str]:
    """Folder or id of the weights of each served name that runs in process."""
    parts = [entry.partition("=") for entry in settings.in_process]
    return {name.strip(): place.strip() or name.strip() for name, _, place in parts}


def _tail(log: Path) -> str:
    """The last lines that say something, as one."""
    said = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return " | ".join(said[-SHOWN_LINES:])[-SHOWN:]


def _stop(process: subprocess.Popen[str], folder: Path, owner: int) -> None:
    """End of input and SIGTERM to the group, SIGKILL to what is left; the log of a child that worked is of no use.

    Does nothing in a fork of ours, which did not start the child.
    """
    if os.getpid() != owner or process.poll() is not None:
        return
    if process.stdin:
        with contextlib.suppress(OSError):
            process.stdin.close()
    for how in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
    shutil.rmtree(folder, ignore_errors=True)
