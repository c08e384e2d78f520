"""vLLM in a process of its own: what the child is told, how it ends, and embeddings beside those of transformers."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tiny_models import TinyModels, ask_transformers

from curate.adapters.vllm.in_process import InProcessModels
from curate.engines import CallReply, CallRequest
from schemas.errors import CallFailedError, InputError, RecipeError
from schemas.sections import Model
from schemas.settings import Price, Settings

pytestmark = pytest.mark.service

# Stands where the inference environment's Python stands: answers, refuses or dies as the prompt says.
CHILD = '''#!{python}
import json, os, sys
from pathlib import Path
Path({folder!r}, f"{{os.getpid()}}.told").write_text(sys.argv[2])
print(json.dumps({{"ready": "embed"}}), flush=True)
held = []
for line in sys.stdin:
    asked = json.loads(line)
    if asked["prompt"] == "die":
        print("out of memory", file=sys.stderr)
        sys.stdout.write('{{"id": ')
        sys.stdout.flush()
        os._exit(3)
    answer = {{"data": [{{"embedding": [len(asked["prompt"])]}}], "usage": {{"prompt_tokens": 5}}}}
    held.append({{"id": asked["id"], **({{"refusal": "too long"}} if asked["prompt"] == "long" else answer)}})
    if asked["prompt"] != "later":  # the last comes first
        while held:
            print(json.dumps(held.pop()), flush=True)
'''

# Asks a child and is killed before it can tell it.
STARTER = '''
import os, sys
from curate.adapters.vllm.in_process import InProcessModels
from curate.engines import CallRequest
from schemas.sections import Model
from schemas.settings import Settings
settings = Settings(in_process=("m",), inference_python=sys.argv[1])
engine = InProcessModels([Model(name="e", model="m")], settings)
assert list(engine.ask("embed", [CallRequest("k", "e", "", "now")]))
os.kill(os.getpid(), 9)
'''


@pytest.fixture
def scripted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that stands in for Python with vLLM; what it was told lies beside it, and so do logs."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    program = tmp_path / "python"
    program.write_text(CHILD.format(python=sys.executable, folder=str(tmp_path)))
    program.chmod(0o755)
    return program


@pytest.fixture
def engine(scripted: Path) -> Iterator[InProcessModels]:
    """One embedder over the scripted child, which costs a thousand dollars per million tokens."""
    settings = Settings(
        in_process=("minilm=org/minilm",), inference_python=str(scripted),
        prices=(Price(model="minilm", usd_per_million_prompt_tokens=1000.0),),
    )
    engine = InProcessModels([Model(name="embedder", model="minilm", revision="abc")], settings)
    yield engine
    engine.close()


def embeddings(engine: InProcessModels, *prompts: str) -> list[CallReply]:
    """Replies to the prompts, each under its own text as key, in the order in which they came."""
    return list(engine.ask("embed", [CallRequest(prompt, "embedder", "{}", prompt) for prompt in prompts]))


def told(scripted: Path) -> dict[int, dict[str, str]]:
    """What each child was told, by its process id."""
    return {int(path.stem): json.loads(path.read_text()) for path in scripted.parent.glob("*.told")}


def is_running(process: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(process, 0)
        return True
    return False


def test_replies_find_their_requests_in_whatever_order_they_come(engine: InProcessModels) -> None:
    replies = embeddings(engine, "later", "now", "even later")
    came = [(reply.call_key, reply.response) for reply in replies]
    assert came == [("now", "[3.0]"), ("later", "[5.0]"), ("even later", "[10.0]")]


def test_a_reply_has_its_tokens_its_time_and_its_price(engine: InProcessModels) -> None:
    (reply,) = embeddings(engine, "now")
    assert (reply.finish_reason, reply.prompt_tokens, reply.cost_usd) == ("stop", 5, 0.005)
    assert 0 < reply.seconds < 60


def test_one_child_serves_all_calls_of_all_threads(engine: InProcessModels, scripted: Path) -> None:
    came: dict[str, list[str]] = {}

    def ask(name: str) -> None:
        asked = [[f"{name}-{i}-{j}" for j in range(20)] for i in range(5)]
        came[name] = [reply.call_key for prompts in asked for reply in embeddings(engine, *prompts)]

    threads = [threading.Thread(target=ask, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {n: set(keys) for n, keys in came.items()} == {
        n: {f"{n}-{i}-{j}" for i in range(5) for j in range(20)} for n in "abc"
    }
    assert len(told(scripted)) == 1


def test_a_child_is_told_where_the_weights_lie(engine: InProcessModels, scripted: Path) -> None:
    embeddings(engine, "now")
    assert list(told(scripted).values()) == [{"model": "org/minilm", "revision": "abc", "runner": "embed"}]


def test_a_folder_has_no_other_revision_than_its_own(scripted: Path, tmp_path: Path) -> None:
    engine = InProcessModels(
        [Model(name="embedder", model=str(tmp_path), revision="abc")],
        Settings(in_process=(str(tmp_path),), inference_python=str(scripted)),
    )
    embeddings(engine, "now")
    engine.close()
    assert list(told(scripted).values()) == [{"model": str(tmp_path), "revision": "", "runner": "embed"}]


def test_what_vllm_refuses_is_an_answer_because_it_would_refuse_again(engine: InProcessModels) -> None:
    replies = {r.call_key: (r.finish_reason, r.response) for r in embeddings(engine, "now", "long")}
    assert replies == {"now": ("stop", "[3.0]"), "long": ("bad_request", "too long")}


def test_a_child_that_dies_leaves_what_it_answered_and_says_why(engine: InProcessModels) -> None:
    replies = engine.ask("embed", [CallRequest(p, "embedder", "{}", p) for p in ("now", "die", "never")])
    assert next(replies).response == "[3.0]"
    said = r"2 of 3 calls .* vLLM ended with 3: out of memory; .*vllm\.log"
    with pytest.raises(CallFailedError, match=said) as first:
        next(replies)
    assert "\n" not in str(first.value)
    with pytest.raises(CallFailedError, match="1 of 1 calls"):
        embeddings(engine, "now")


def test_closing_ends_the_child_and_leaves_no_log(engine: InProcessModels, scripted: Path) -> None:
    embeddings(engine, "now")
    (process,) = told(scripted)
    assert is_running(process)
    assert len(list(scripted.parent.glob("tiebreak-vllm-*/vllm.log"))) == 1
    engine.close()
    assert not is_running(process)
    assert list(scripted.parent.glob("tiebreak-vllm-*")) == []


def test_a_child_ends_with_whoever_started_it(scripted: Path) -> None:
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", STARTER, str(scripted)]) == -9
    (process,) = told(scripted)
    deadline = time.monotonic() + 10
    while is_running(process) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_running(process)


def test_a_model_that_settings_do_not_name_is_refused(engine: InProcessModels) -> None:
    with pytest.raises(RecipeError, match=r"'judge' does not run in process.*minilm.*in_process"):
        list(engine.ask("judge", [CallRequest("k", "judge", "{}", "")]))


def test_without_an_environment_the_way_to_one_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    engine = InProcessModels([Model(name="embedder", model="m")], Settings(in_process=("m",)))
    with pytest.raises(RecipeError, match=r"no Python at \.venv-inference/bin/python.*make inference"):
        embeddings(engine, "now")


def test_a_likelihood_is_asked_of_an_assistants_message_only(engine: InProcessModels) -> None:
    asked = json.dumps([{"role": "user", "content": "Why?"}])
    with pytest.raises(InputError, match="assistant"):
        list(engine.ask("likelihood", [CallRequest("k", "embedder", "{}", "", messages=asked)]))


def test_embeddings_are_those_of_transformers(own: InProcessModels, inference: Path, tiny: TinyModels) -> None:
    prompts = ["Short.", "A text of more than one line,\nwith names, numbers 1234 and „quotes“ 🐈.", "word " * 300]
    asked = [{"ask": "embedding", "model": str(tiny.embedder), "prompt": prompt} for prompt in prompts]
    replies = {reply.call_key: json.loads(reply.response) for reply in embeddings(own, *prompts)}
    for prompt, expected in zip(prompts, ask_transformers(inference, asked), strict=True):
        assert len(expected) == 128
        assert replies[prompt] == pytest.approx(expected, abs=5e-4)


def test_a_prompt_longer_than_the_context_is_refused_and_the_rest_is_answered(own: InProcessModels) -> None:
    replies = {r.call_key: r for r in embeddings(own, "word " * 3000, "Short.")}
    assert replies["Short."].finish_reason == "stop"
    (refused,) = replies.keys() - {"Short."}
    assert replies[refused].finish_reason == "bad_request"
    assert re.search("maximum model length of 2048", replies[refused].response)


def test_weights_that_are_not_there_fail_with_vllms_own_words(
    inference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "empty").mkdir()
    settings = Settings(in_process=(f"empty={tmp_path / 'empty'}",), inference_python=str(inference))
    engine = InProcessModels([Model(name="embedder", model="empty")], settings)
    with pytest.raises(CallFailedError, match=r"vLLM ended with 1: .*(config|model)"):
        embeddings(engine, "now")
