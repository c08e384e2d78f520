"""vLLM in a process of its own: a program for the inference environment's Python, started by its path.

    batch_program.py '{"model": "folder or id", "revision": "", "runner": "generate | classify | embed | auto"}'

One JSON request a line on standard input; one JSON reply a line on standard output, each as soon as it is known, in
any order, in the shape in which vLLM's server answers. First of all comes `{"ready": runner}`. Requests join the
batch that is running, so whoever sends many at once keeps the machine full. Ends when its input does. Everything
that vLLM says goes to standard error.

Only the standard library and vLLM are imported: neither Tiebreak nor anything that it needs is installed there.
"""

from __future__ import annotations

import glob
import importlib
import json
import os
import queue
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

ON_A_CPU = {"VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": "1"}
"""GiB for keys and values, and threads; whoever started us may have said otherwise"""
ALWAYS = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
# Random or stubborn models fill JSON with blanks for ever where they may.
STRUCTURED = {"backend": "xgrammar", "disable_any_whitespace": True}
N_LOGPROBS = 20
"""alternatives per token where the answer is a choice; vLLM's own limit"""
NO_MASS = -9999.0
"""what vLLM's server writes for the logarithm of nothing"""

Request = Mapping[str, Any]
Reply = dict[str, Any]


def dtype_of(model: str, runner: str, *, is_on_gpu: bool) -> str:
    """In which type a model computes: as vLLM chooses, but rewards that were trained in float32 are read in float32.

    Left to itself on a GPU, vLLM takes float16 for such weights, and rewards differ in the third digit.
    """
    config = Path(model) / "config.json"
    is_whole = runner == "classify" and config.is_file() and "float32" in (
        str(value) for key, value in json.loads(config.read_text("utf-8")).items() if key in ("dtype", "torch_dtype"))
    return "float32" if is_whole or not is_on_gpu else "auto"


class Engine:
    """One loaded model and the requests it works on."""

    def __init__(self, model: str, revision: str, runner: str) -> None:
        self._vllm = importlib.import_module("vllm")
        self._refusal = importlib.import_module("vllm.exceptions").VLLMClientError
        how = {"auto": {}, "generate": {"runner": "generate"}}.get(runner, {"runner": "pooling", "convert": runner})
        on_a_cpu = {} if has_gpu() else {"enforce_eager": True}
        self._llm = self._vllm.LLM(
            model=model, revision=revision or None, structured_outputs_config=STRUCTURED,
            dtype=dtype_of(model, runner, is_on_gpu=has_gpu()), **how, **on_a_cpu,
        )
        self._tokenizer = self._llm.get_tokenizer()
        self._running: dict[str, Request] = {}

    @property
    def runner(self) -> str:
        """What it can be asked: generate, classify or embed."""
        return next(task for task in ("generate", "classify", "embed") if task in self._llm.supported_tasks)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left to do."""
        return not self._llm.llm_engine.has_unfinished_requests()

    def add(self, request: Request) -> Reply | None:
        """Take a request into the batch; a reply only if vLLM refuses it."""
        try:
            ids, parameters = self._prepared(request)
            prompt = self._vllm.inputs.tokens_input(ids)
            self._llm.llm_engine.add_request(str(request["id"]), prompt, parameters)
        except (ValueError, TypeError, self._refusal) as error:
            return {"id": request["id"], "refusal": " ".join(f"{type(error).__name__}: {error}".split())[:300]}
        self._running[str(request["id"])] = request
        return None

    def step(self) -> list[Reply]:
        """One step of the batch; replies to what it finished."""
        ended = [output for output in self._llm.llm_engine.step() if output.finished]
        return [self._reply(self._running.pop(output.request_id), output) for output in ended]

    def _prepared(self, request: Request) -> tuple[list[int], Any]:
        """Token ids and parameters."""
        kind, messages = request["kind"], request["messages"]
        if kind == "embed":
            return self._tokenizer.encode(request["prompt"]), self._vllm.PoolingParams(task="embed")
        if kind == "score":
            return self._rendered(messages), self._vllm.PoolingParams(task="classify", use_activation=False)
        if kind == "fingerprint":
            return self._tokenizer.encode(request["prompt"]), self._reading()
        if kind == "likelihood":
            return self._rendered(messages, continue_final_message=True), self._reading()
        return self._rendered(messages, add_generation_prompt=True), self._writing(request)

    def _rendered(self, messages: Sequence[Mapping[str, str]], **how: bool) -> list[int]:
        # As the server does: the template says whether special tokens stand at the front, nobody adds more.
        ids: list[int] = self._tokenizer.apply_chat_template(list(messages), tokenize=True, return_dict=False, **how)
        return ids

    def _reading(self) -> Any:
        """Parameters under which a prompt is only read."""
        return self._sampling({"max_tokens": 1, "temperature": 0.0}, prompt_logprobs=0)

    def _writing(self, request: Request) -> Any:
        """Parameters of an answer: free, one of the choices, or JSON by the schema."""
        if not request["choices"] and not request["schema"]:
            return self._sampling(request["parameters"], logprobs=0)
        constraint = {"choice": request["choices"]} if request["choices"] else {"json": request["schema"]}
        outputs = self._vllm.sampling_params.StructuredOutputsParams(**constraint)
        n = N_LOGPROBS if request["choices"] else 0
        return self._sampling(request["parameters"], logprobs=n, structured_outputs=outputs)

    def _sampling(self, asked: Mapping[str, Any], **ours: Any) -> Any:
        """What is asked stands above the model's own defaults, which the server takes too."""
        final = self._vllm.sampling_params.RequestOutputKind.FINAL_ONLY
        defaults = self._llm.model_config.get_diff_sampling_param()
        return self._vllm.SamplingParams(**{**defaults, **asked, **ours, "output_kind": final})

    def _reply(self, request: Request, output: Any) -> Reply:
        usage = {"prompt_tokens": len(output.prompt_token_ids), "completion_tokens": 0}
        reply = {"id": request["id"], "usage": usage}
        if request["kind"] in ("score", "embed"):
            name = "probs" if request["kind"] == "score" else "embedding"
            return reply | {"data": [{name: output.outputs.data.tolist()}]}
        (written,) = output.outputs
        usage["completion_tokens"] = len(written.token_ids)
        if request["kind"] == "likelihood":
            reply["prefix"] = self._rendered(request["messages"][:-1], add_generation_prompt=True)
        if request["kind"] in ("likelihood", "fingerprint"):
            return reply | {
                "prompt_token_ids": output.prompt_token_ids, "prompt_logprobs": _of_prompt(output),
            }
        return reply | {"choices": [_choice(written)]}


def _of_prompt(output: Any) -> list[dict[str, dict[str, float]] | None]:
    """One map per token of the prompt, None for the first."""
    pairs = zip(output.prompt_token_ids, output.prompt_logprobs, strict=True)
    return [None if at is None else {str(token): {"logprob": at[token].logprob}} for token, at in pairs]


def _choice(written: Any) -> dict[str, Any]:
    """A written text with the log probabilities of its tokens, its end included, and of their alternatives."""
    pairs = zip(written.token_ids, written.logprobs, strict=True)
    content = [{**_token(at[token]), "top_logprobs": [_token(other) for other in at.values()]} for token, at in pairs]
    message = {"role": "assistant", "content": written.text}
    return {"message": message, "finish_reason": written.finish_reason, "logprobs": {"content": content}}


def _token(logprob: Any) -> dict[str, Any]:
    # vLLM writes the logarithm of nothing as infinity here and as -9999 over HTTP: JSON has no infinity.
    return {"token": logprob.decoded_token or "", "logprob": max(logprob.logprob, NO_MASS)}


def has_gpu() -> bool:
    """Whether an NVIDIA or AMD driver has a device."""
    return bool(glob.glob("/dev/nvidia[0-9]*")) or os.path.exists("/dev/kfd")


def serve(asked: Request, replies: TextIO) -> None:
    """Answer requests until the input ends and nothing is left to do."""
    requests: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    # From the start: whoever sends must not wait for a pipe while the model is loading.
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    engine = Engine(asked["model"], asked["revision"], asked["runner"])
    _say(replies, {"ready": engine.runner})
    is_open = True
    while is_open or not engine.is_idle:
        while is_open and (engine.is_idle or not requests.empty()):
            line = requests.get()
            is_open = line is not None
            if line is not None and (refusal := engine.add(json.loads(line))):
                _say(replies, refusal)
        for reply in [] if engine.is_idle else engine.step():
            _say(replies, reply)


def _listen(requests: queue.SimpleQueue[str | None]) -> None:
    for line in sys.stdin:
        requests.put(line)
    requests.put(None)


def _say(replies: TextIO, reply: Reply) -> None:
    replies.write(json.dumps(reply) + "\n")
    replies.flush()


def main() -> None:
    """Keep standard output for replies: vLLM and its libraries write wherever they like."""
    settings = ALWAYS | ({} if has_gpu() else ON_A_CPU)
    os.environ |= {name: value for name, value in settings.items() if name not in os.environ}
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdin.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    serve(json.loads(sys.argv[1]), replies)


if __name__ == "__main__":
    main()
