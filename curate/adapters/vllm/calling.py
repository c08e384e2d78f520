"""One call from its request to its reply: endpoint by endpoint, attempt by attempt, within rates and money."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from curate.adapters.vllm import bodies, replies
from curate.adapters.vllm.bodies import Estimate
from curate.adapters.vllm.contact import FIXED_TEXT, fingerprint_of, introduce
from curate.adapters.vllm.endpoints import Server, Servers, Wish, pause_s
from curate.adapters.vllm.faults import AttemptFailedError, RejectedError, UnansweredError
from curate.adapters.vllm.limits import Ledger, cost_of
from curate.adapters.vllm.repair import keep_schema
from curate.adapters.vllm.replies import Said, parsed
from curate.engines import CallReply, CallRequest, Kind
from schemas.settings import Settings

Talk = Callable[[Server], Awaitable[Said]]
IsWanted = Callable[[], bool]
clock = time.monotonic


class Caller:
    """Makes calls to the endpoints of one served name. Lives in the event loop's thread."""

    def __init__(self, servers: Servers, settings: Settings, ledger: Ledger) -> None:
        self.servers, self._settings, self._ledger = servers, settings, ledger
        self._price = settings.price_of(servers.name)

    async def reply(self, kind: Kind, request: CallRequest, is_wanted: IsWanted) -> CallReply:
        """The reply to one request. `is_wanted` is asked before each attempt.

        Raises UnansweredError after all attempts, or when nobody wants it any more; SpendLimitError when the next
        attempt could cost too much; InputError for a request that cannot be sent.
        """

        async def once(asked: CallRequest) -> CallReply:
            said, seconds, cost = await self._attempts(
                _talk(kind, asked), bodies.estimate(kind, asked), asked.call_key, is_wanted
            )
            return CallReply(
                asked.call_key, said.response, said.finish_reason, said.choice_logprobs, said.prompt_tokens,
                said.output_tokens, seconds, cost, said.logprob_sum,
            )

        has_schema = bool(request.schema) and not request.choices and kind in ("generate", "judge")
        return await (keep_schema(once, request) if has_schema else once(request))

    async def fingerprint(self) -> tuple[float, ...] | None:
        """Log likelihoods of the fixed text, asked anew. Raises UnansweredError."""
        fresh: list[tuple[float, ...] | None] = []

        async def talk(server: Server) -> Said:
            fresh.append(await fingerprint_of(server) if server.is_vllm else None)
            return Said("")

        await self._attempts(talk, Estimate(len(FIXED_TEXT), 1), "fingerprint", lambda: True)
        return fresh[-1]

    async def _attempts(
        self, talk: Talk, estimate: Estimate, seed: str, is_wanted: IsWanted
    ) -> tuple[Said, float, float]:
        """What was said; seconds and cost in US dollars of the attempt that brought it."""
        wish = Wish(estimate.prompt_tokens + estimate.output_tokens, self._settings.max_attempts)
        while True:
            server, unused = await self.servers.acquire(wish), 0.0
            try:
                if not is_wanted():
                    raise UnansweredError("not wanted any more", is_hopeless=True)
                said, seconds, cost = await self._attempt(server, talk, estimate)
                unused = wish.n_tokens - said.prompt_tokens - said.billed_tokens if said.prompt_tokens else 0.0
                server.succeeded()
                return said, seconds, cost
            except AttemptFailedError as error:
                fault = error
                self.servers.failed(server, fault)
            finally:
                self.servers.release(server, unused)
            await self._before_next(server, fault, wish, seed)

    async def _before_next(self, server: Server, fault: AttemptFailedError, wish: Wish, seed: str) -> None:
        """Where the next attempt may go and when: elsewhere at once, or here after a back-off."""
        wish.patience -= 1
        wish.avoid = server
        if fault.blame == "refused":
            wish.never.add(server)
        if wish.patience <= 0:
            raise UnansweredError(f"{self._settings.max_attempts} attempts failed", is_hopeless=False)
        if fault.blame == "endpoint" and server.is_up(clock()) and not self.servers.is_another_up(wish):
            n_before = self._settings.max_attempts - wish.patience - 1
            chance = random.Random(f"{seed}/{n_before}").random()
            await asyncio.sleep(pause_s(self._settings.backoff_s, n_before, chance))

    async def _attempt(self, server: Server, talk: Talk, estimate: Estimate) -> tuple[Said, float, float]:
        """One attempt, paid for whether it succeeds or not; seconds on a machine of one's own cost in any case."""
        prompt, output, n_posts = estimate
        worst = cost_of(self._price, prompt, output, n_posts * self._settings.timeout_s)
        await self._ledger.promise(worst)
        cost = 0.0
        try:
            await self._be_introduced(server)
            began, mark, said = clock(), server.machine.begin(clock()), Said("")
            try:
                said = await talk(server)
            finally:
                ended = clock()
                shared = server.machine.end(mark, ended)
                cost = cost_of(self._price, said.prompt_tokens, said.billed_tokens, shared)
            await self._be_introduced(server)  # the connection may have been lost and found on the way
            return said, ended - began, cost
        finally:
            self._ledger.settle(worst, cost)

    async def _be_introduced(self, server: Server) -> None:
        """Nothing is sent to, or taken from, an endpoint whose model has not been looked at since the last loss."""
        while server.n_lost_checked != server.wire.n_lost:
            if server.checking is None:
                server.checking = asyncio.create_task(self._introduction(server))
            await asyncio.shield(server.checking)

    async def _introduction(self, server: Server) -> None:
        try:
            await server.wire.close()  # whatever idles may be as dead as what was lost
            n_lost = server.wire.n_lost
            await introduce(server, self.servers.all)
            server.n_lost_checked = n_lost
        finally:
            server.checking = None


def _trivial(request: CallRequest) -> CallRequest:
    """The same question about next to nothing: who refuses this refuses the manner of asking, not the text."""
    turns = [{"role": turn["role"], "content": "Hello."} for turn in json.loads(request.messages or "[]")]
    return replace(request, messages=json.dumps(turns) if turns else "", prompt="Hello." if request.prompt else "")


async def _refused(server: Server, error: RejectedError, kind: Kind, request: CallRequest) -> Said:
    """A refusal of this very text, which is recorded. Raises AttemptFailedError when it is one of any text.

    A server without a chat template refuses everything; recorded, that would stand after the server is mended.
    """
    try:
        await _heard(server, _ways(_trivial(request))[kind])
    except RejectedError:
        raise AttemptFailedError(
            f"refuses even a trivial request: {error.seen}"[:300], "refused", next="mend what the server says"
        ) from None
    return replies.rejected(error)


async def _heard(server: Server, talk: Talk) -> Said:
    """What is said, asked again without an optional parameter that a server other than vLLM does not take.

    Raises RejectedError when the request itself is refused.
    """
    while True:
        lacks = frozenset(server.lacks)
        try:
            return await talk(server)
        except RejectedError as error:
            name = None if server.is_vllm else bodies.refused_parameter(error.seen, lacks)
            if name is None:
                raise
            server.lacks.add(name)


def _talk(kind: Kind, request: CallRequest) -> Talk:
    """How one kind of call is put to an endpoint, and what a refusal of it means."""
    ask = _ways(request)[kind]

    async def talk(server: Server) -> Said:
        try:
            return await _heard(server, ask)
        except RejectedError as error:
            return await _refused(server, error, kind, request)

    return talk


def _ways(request: CallRequest) -> dict[Kind, Talk]:
    """How each kind of call is put to an endpoint."""

    async def chat(server: Server) -> Said:
        served = server.endpoint.model
        body = bodies.chat_body(request, served, is_vllm=server.is_vllm, lacks=server.lacks)
        answer = await server.wire.post("/chat/completions", body)
        return parsed(replies.chat_said(request, is_constrained=server.is_vllm), answer, served)

    async def score(server: Server) -> Said:
        served = server.endpoint.model
        answer = await server.wire.post_root("/classify", bodies.classify_body(request, served))
        return parsed(replies.reward_said, answer, served)

    async def embed(server: Server) -> Said:
        served = server.endpoint.model
        answer = await server.wire.post("/embeddings", bodies.embed_body(request, served))
        return parsed(replies.embedding_said, answer, served)

    async def likelihood(server: Server) -> Said:
        served = server.endpoint.model
        if not server.is_vllm:
            raise AttemptFailedError("gives no log probabilities of prompts", "refused", next="serve it with vLLM")
        prefix = await server.wire.post_root("/tokenize", bodies.prefix_body(request, served))
        answer = await server.wire.post("/chat/completions", bodies.likelihood_body(request, served))
        return parsed(replies.likelihood_said(replies.token_ids(prefix)), answer, served)

    return {"generate": chat, "judge": chat, "score": score, "embed": embed, "likelihood": likelihood}
