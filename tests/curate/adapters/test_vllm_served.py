"""The engine as a whole over servers made of a function: what is asked, what is handed over, what is raised."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

import httpx
import pytest

from curate.adapters.vllm import served as served_module
from curate.adapters.vllm.served import ServedModels
from curate.engines import CallReply, CallRequest, Kind
from schemas.errors import CallFailedError, InputError, RecipeError, SpendLimitError
from schemas.sections import Model
from schemas.settings import Endpoint, Price, Settings
from schemas.tables import VOTERS

Answer = Callable[[str, dict[str, Any]], Any]
"""(path, body) → JSON, or a response, or an error to raise"""
CHAT, MODELS = "/v1/chat/completions", "/v1/models"
WEIGHTS = [None, {"1": {"logprob": -1.0}}, {"2": {"logprob": -2.0}}]
CARD = {"id": "m", "owned_by": "vllm", "root": "folder", "max_model_len": 100}


def verdict(text: str = "1") -> dict[str, Any]:
    top = [{"token": "1", "logprob": -0.1}, {"token": "2", "logprob": -2.4}]
    choice = {
        "message": {"content": text}, "finish_reason": "stop",
        "logprobs": {"content": [{"token": text, "logprob": -0.1, "top_logprobs": top}]},
    }
    return {"model": "m", "choices": [choice], "usage": {"prompt_tokens": 10, "completion_tokens": 2}}


def vllm(path: str, body: dict[str, Any]) -> Any:
    """A healthy vLLM."""
    return {
        CHAT: verdict(), MODELS: {"data": [CARD]},
        "/v1/completions": {"model": "m", "choices": [{"prompt_logprobs": WEIGHTS}]},
        "/classify": {"model": "m", "data": [{"probs": [-0.25]}], "usage": {"prompt_tokens": 4}},
        "/v1/embeddings": {"model": "m", "data": [{"embedding": [1.0, 2.0]}], "usage": {"prompt_tokens": 4}},
        "/tokenize": {"tokens": [1, 2]},
    }[path]


class World:
    """What stands behind every connection, and what was sent to it."""

    def __init__(self) -> None:
        self.answer: Answer = vllm
        self.sent: list[tuple[str, str, dict[str, Any]]] = []
        self.headers: list[httpx.Headers] = []

    async def handle(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(await request.aread() or b"{}")
        self.sent.append((request.url.host, request.url.path, body))
        self.headers.append(request.headers)
        said = self.answer(request.url.path, body)
        said = await said if asyncio.iscoroutine(said) else said
        if isinstance(said, Exception):
            raise said
        return said if isinstance(said, httpx.Response) else httpx.Response(200, json=said)

    def paths(self) -> Counter[str]:
        return Counter(path for _, path, _ in self.sent)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    transport = "curate.adapters.vllm.transport.new_transport"
    monkeypatch.setattr(transport, lambda: httpx.MockTransport(made.handle))
    return made


def settings_of(*hosts: str, price: Price | None = None, key: str = "", **fields: Any) -> Settings:
    endpoints = [Endpoint(model="m", url=f"http://{host}/v1", key=key) for host in hosts or ("a",)]
    quick = {"backoff_s": 0.001, "timeout_s": 1.0, "max_attempts": 3}
    return Settings(endpoints=tuple(endpoints), prices=(price,) if price else (), **{**quick, **fields})


def served_by(settings: Settings, secret: Callable[[str], str] = str, **fields: Any) -> ServedModels:
    return ServedModels([Model(name="j", model="m", revision="7")], settings, secret=secret, **fields)


def questions(n: int, **fields: Any) -> list[CallRequest]:
    told = {"choices": ("1", "2"), **fields}
    turns = [json.dumps([{"role": "user", "content": str(i)}]) for i in range(n)]
    return [CallRequest(f"{i:03}", "j", "{}", "text", messages=turn, **told) for i, turn in enumerate(turns)]


def ask(served: ServedModels, requests: Sequence[CallRequest], kind: Kind = "judge") -> list[CallReply]:
    with closing(served):
        return list(served.ask(kind, requests))


def test_models_are_voters_and_known_by_what_is_served_never_by_an_address() -> None:
    models = [
        Model(name="plain", model="org/name-8B"),
        Model(name="full", model="m", revision="abc", variant="fp8", family="f"),
    ]
    served = ServedModels(models, settings_of(), secret=str)
    assert [served.identity(name) for name in ("plain", "full")] == ["org/name-8B@?", "m@abc+fp8"]
    voters = served.voters()
    assert voters.equals(VOTERS.complete(voters))
    assert voters.select("voter", "kind", "family", "model", "revision").rows() == [
        ("plain", "judge", "org/name", "org/name-8B", None), ("full", "judge", "f", "m", "abc")
    ]


def test_an_unknown_name_a_model_without_endpoint_and_a_bad_schema_are_refused_before_anything_is_sent(
    world: World,
) -> None:
    with pytest.raises(InputError, match="model 'x'"):
        served_by(settings_of()).identity("x")
    with pytest.raises(RecipeError, match="no endpoint serves 'm'"):
        served_by(Settings()).ask("judge", questions(1))
    with pytest.raises(InputError, match="schema"):
        served_by(settings_of()).ask("generate", questions(1, choices=(), schema="{"))
    assert world.sent == []


def test_a_verdict_comes_with_probabilities_tokens_and_its_price(world: World) -> None:
    price = Price(model="m", usd_per_million_prompt_tokens=1e5, usd_per_million_output_tokens=1e6)
    served = served_by(settings_of(price=price), spent_usd=1.0)
    [reply] = ask(served, questions(1))
    assert (reply.response, reply.finish_reason, reply.prompt_tokens, reply.output_tokens) == ("1", "stop", 10, 2)
    assert reply.choice_logprobs is not None
    assert math.fsum(map(math.exp, reply.choice_logprobs.values())) == pytest.approx(1)
    assert reply.cost_usd == pytest.approx(3.0)
    assert served.spent_usd() == pytest.approx(4.0)
    assert served.price("j") == price


@pytest.mark.parametrize(("kind", "expected"), [("score", -0.25), ("embed", [1.0, 2.0])])
def test_rewards_and_embeddings_are_numbers(world: World, kind: Kind, expected: object) -> None:
    [reply] = ask(served_by(settings_of()), questions(1, choices=()), kind)
    assert json.loads(reply.response) == expected


def test_a_likelihood_is_read_off_the_prompt(world: World) -> None:
    read = {**verdict(), "prompt_token_ids": [1, 2, 3], "prompt_logprobs": [*WEIGHTS, {"3": {"logprob": -0.5}}][:3]}
    world.answer = lambda path, body: read if path == CHAT else vllm(path, body)
    request = CallRequest("k", "j", "{}", "", messages='[{"role": "user", "content": "?"}, '
                          '{"role": "assistant", "content": "!"}]')
    [reply] = ask(served_by(settings_of()), [request], "likelihood")
    assert (reply.response, reply.output_tokens) == ("-2.0", 1)


def test_equal_questions_of_a_batch_are_one_call(world: World) -> None:
    assert len(ask(served_by(settings_of()), questions(2) * 3)) == 2
    assert world.paths()[CHAT] == 2


def test_a_reply_is_handed_over_while_others_are_under_way(world: World) -> None:
    taken = threading.Event()

    async def late(body: dict[str, Any]) -> dict[str, Any]:
        while body["messages"][-1]["content"] == "1" and not taken.is_set():
            await asyncio.sleep(0.001)
        return verdict()

    world.answer = lambda path, body: late(body) if path == CHAT else vllm(path, body)
    with closing(served_by(settings_of())) as served:
        replies = served.ask("judge", questions(2))
        assert next(replies).call_key == "000"
        taken.set()
        assert [r.call_key for r in replies] == ["001"]


def test_calls_not_yet_sent_are_not_made_when_nobody_takes_their_replies(world: World) -> None:
    endpoint = Endpoint(model="m", url="http://a/v1", concurrency=1)
    with closing(served_by(Settings(endpoints=(endpoint,)))) as served:
        replies = served.ask("judge", questions(500))
        next(replies)
        replies.close()  # type: ignore[attr-defined]  # a generator
        n_sent = world.paths()[CHAT]
        assert ask(served, questions(1))
    assert n_sent < 500
    assert world.paths()[CHAT] <= n_sent + 2


def test_many_threads_may_ask_at_once(world: World) -> None:
    got: list[list[CallReply]] = []
    with closing(served_by(settings_of())) as served:
        def work() -> None:
            got.append(list(served.ask("judge", questions(20))))

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [len(batch) for batch in got] == [20] * 6
    assert world.paths()[MODELS] == 1, "one introduction for all"


def test_a_refused_question_is_answered_so_and_the_others_are_answered(world: World) -> None:
    refusal = httpx.Response(400, json={"error": {"message": "too   long\nprompt"}})
    world.answer = lambda path, body: (
        refusal if path == CHAT and body["messages"][-1]["content"] == "1" else vllm(path, body)
    )
    replies = {r.call_key: (r.finish_reason, r.response) for r in ask(served_by(settings_of()), questions(3))}
    assert replies == {"000": ("stop", "1"), "001": ("bad_request", "400: too long prompt"), "002": ("stop", "1")}


def test_another_server_is_asked_again_without_what_it_does_not_take(world: World) -> None:
    def plain(path: str, body: dict[str, Any]) -> Any:
        if path != CHAT:
            return {"data": [{"id": "m"}]} if path == MODELS else httpx.Response(404)
        return httpx.Response(400, json={"error": "no logprobs here"}) if "logprobs" in body else verdict()

    world.answer = plain
    replies = ask(served_by(settings_of()), questions(3))
    assert {r.finish_reason for r in replies} == {"stop"}
    assert not any("structured_outputs" in body for _, _, body in world.sent)


def test_the_key_is_sent_and_is_in_nothing_that_is_said(world: World) -> None:
    world.answer = lambda path, body: httpx.ReadError("Bearer planted-key") if path == CHAT else vllm(path, body)
    served = served_by(settings_of(key="NAME"), lambda name: {"NAME": "planted-key"}[name])
    with pytest.raises(CallFailedError) as caught:
        ask(served, questions(2))
    assert {h["authorization"] for h in world.headers} == {"Bearer planted-key"}
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    assert "planted-key" not in f"{caught.value!r} {vars(caught.value)} {vars(served)}"


def test_a_secret_that_is_missing_says_so_itself_and_one_that_no_header_may_hold_is_not_shown() -> None:
    def missing(name: str) -> str:
        raise RecipeError(f"no secret {name!r}")

    with pytest.raises(RecipeError, match="no secret 'NAME'"):
        served_by(settings_of(key="NAME"), missing).ask("judge", questions(1))
    with pytest.raises(RecipeError, match="'NAME' holds") as caught:
        served_by(settings_of(key="NAME"), lambda name: "a\nb").ask("judge", questions(1))
    assert "a\nb" not in str(caught.value)


def test_a_refused_key_names_the_key_and_is_not_tried_again(world: World) -> None:
    world.answer = lambda path, body: httpx.Response(401)
    with pytest.raises(CallFailedError, match=r"2 of 2 calls.*a: 401 key refused.*check the key named 'NAME'"):
        ask(served_by(settings_of(key="NAME")), questions(2))
    assert len(world.sent) == 1


def test_a_model_that_is_not_served_is_answered_with_those_that_are(world: World) -> None:
    world.answer = lambda path, body: {"data": [{"id": "other"}]}
    with pytest.raises(CallFailedError, match=r"serves \['other'\], not 'm'"):
        ask(served_by(settings_of()), questions(1))


def test_weights_that_changed_behind_a_lost_connection_answer_nothing(world: World) -> None:
    with closing(served_by(settings_of())) as served:
        assert len(list(served.ask("judge", questions(1)))) == 1
        changed = [None, {"1": {"logprob": -1.2}}, {"2": {"logprob": -2.1}}]
        other = {"model": "m", "choices": [{"prompt_logprobs": changed}]}
        losses = iter([httpx.ReadError("")])
        world.answer = lambda path, body: (
            next(losses, verdict()) if path == CHAT else other if path == "/v1/completions" else vllm(path, body)
        )
        with pytest.raises(CallFailedError, match=r"answers otherwise than before.*raise `revision`"):
            list(served.ask("judge", questions(1)))


def test_an_endpoint_whose_weights_differ_from_the_first_s_gets_no_calls(world: World) -> None:
    shown = itertools.chain([WEIGHTS], itertools.repeat([None, {"1": {"logprob": -3.0}}, {"2": {"logprob": -2.0}}]))
    world.answer = lambda path, body: (
        {"model": "m", "choices": [{"prompt_logprobs": next(shown)}]} if path == "/v1/completions" else vllm(path, body)
    )
    with closing(served_by(settings_of("a", "b"))) as served:
        assert len(list(served.ask("judge", questions(6)))) == 6
    assert len({host for host, path, _ in world.sent if path == CHAT}) == 1


def test_a_fingerprint_is_asked_anew_each_time_and_none_where_the_server_gives_none(world: World) -> None:
    with closing(served_by(settings_of())) as served:
        assert served.fingerprint("j") == served.fingerprint("j") == (-1.0, -2.0)
        assert world.paths()["/v1/completions"] == 3
    world.answer = lambda path, body: {"data": [{"id": "m"}]} if path == MODELS else httpx.Response(404)
    with closing(served_by(settings_of())) as served:
        assert served.fingerprint("j") is None
    world.answer = lambda path, body: httpx.ConnectError("")
    with closing(served_by(settings_of())) as served, pytest.raises(CallFailedError, match="a: no connection"):
        served.fingerprint("j")


def test_no_call_is_made_that_could_exceed_the_limit_and_what_was_made_is_handed_over(world: World) -> None:
    price = Price(model="m", usd_per_million_output_tokens=1e6)
    served = served_by(settings_of(price=price, spend_usd_per_round=9.0))
    got: list[CallReply] = []
    with pytest.raises(SpendLimitError, match=r"spend_usd_per_round"):
        got.extend(served.ask("judge", questions(10)))
    assert len(got) == world.paths()[CHAT] == 4
    assert served.spent_usd() == pytest.approx(8.0)


def test_machine_time_is_paid_for_whether_a_call_succeeds_or_not(world: World) -> None:
    async def slow(fails: bool) -> Any:
        await asyncio.sleep(0.02)
        return httpx.ReadError("") if fails else verdict()

    fails = iter([True, False])
    world.answer = lambda path, body: slow(next(fails)) if path == CHAT else vllm(path, body)
    served = served_by(settings_of(price=Price(model="m", usd_per_hour=3600.0)))
    [reply] = ask(served, questions(1))
    assert reply.cost_usd == pytest.approx(reply.seconds, rel=0.01)
    assert served.spent_usd() >= reply.cost_usd + 0.02


def test_a_defect_is_raised_as_it_is_and_nobody_waits_for_ever(world: World) -> None:
    world.answer = lambda path, body: ZeroDivisionError("ours")
    with pytest.raises(ZeroDivisionError, match="ours"):
        ask(served_by(settings_of()), questions(3))


def test_models_in_process_are_asked_there_and_the_others_over_http(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Own:
        def __init__(self, models: Sequence[Model], settings: Settings) -> None:
            self.names = [m.name for m in models]

        def ask(self, kind: Kind, requests: Sequence[CallRequest]) -> Iterator[CallReply]:
            yield from (CallReply(r.call_key, "own", cost_usd=0.5) for r in requests)

        def fingerprint(self, name: str) -> tuple[float, ...]:
            return (float(len(self.names)),)

        def close(self) -> None:
            self.names.clear()

    monkeypatch.setattr(served_module, "InProcessModels", Own)
    models = [Model(name="j", model="m"), Model(name="mine", model="local")]
    settings = settings_of(in_process=("local=folder",))
    mine = CallRequest("mine", "mine", "{}", "text")
    with closing(ServedModels(models, settings, secret=str)) as served:
        got = {r.call_key: r.response for r in served.ask("generate", [*questions(1, choices=()), mine])}
        assert got == {"000": "1", "mine": "own"}
        assert served.fingerprint("mine") == (1.0,)
        assert served.spent_usd() == 0.5


@pytest.mark.service
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_connects_anew_and_its_parent_goes_on(world: World) -> None:
    with closing(served_by(settings_of())) as served:
        assert len(list(served.ask("judge", questions(2)))) == 2
        child = os.fork()
        if not child:
            try:
                os._exit(10 + len(list(served.ask("judge", questions(3)))))
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 13
        assert len(list(served.ask("judge", questions(4)))) == 4
