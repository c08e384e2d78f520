"""What the judge stage costs beside a bare client, and a look-up of known calls beside a bare anti-join.

Calls: from pairs with their texts to votes (`flows.judging.judged`: the instrument rendered, questions keyed,
known ones looked up, the rest asked through the adapter in threads, each answer a line in the inbox, verdicts
read into votes) against a bare asyncio client over httpx, which is given ready bodies and keeps the verdicts in
a list. It has one httpx client per connection: that is its fastest way, a client shared by all connections slows
down with their number (`--shared` measures against that one). Both ask one scripted server in a process of its
own the same questions, run by run in turns; every run of ours has a workspace of its own, and every call must
become a vote. The ratio is the median over paired runs, its interval a bootstrap over them.

Look-up: of a batch of questions that are all recorded, those that are not (`flows.calling.unknown_calls`, which
opens the database), against opening the same file with DuckDB and an anti-join over the same keys.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import httpx
import numpy as np
import polars as pl

from bench._measuring import beside, expect, markdown, timed
from bench._scripted import ScriptedServer
from curate.engines import CallRequest
from flows.calling import thread_fan_out, unknown_calls
from flows.engines import engines_of
from flows.judging import judged, to_ask
from flows.panel import Member, judges_of, panel_of
from flows.rounds import Turn, open_round
from schemas.ids import content_id_expr
from schemas.recipe import Recipe, parse_recipe
from schemas.settings import Endpoint, Settings
from schemas.tables import CALLS, PAIRS, PROMPTS, RESPONSES, TEXTS
from warehouse.store import Store

CONCURRENCY, DELAYS_MS, RUNS, CALLS_PER_RUN, KNOWN = (1, 8, 32, 128), (0, 20), 7, 8000, 1_000_000
WORKERS, WORDS = 4, 60
"""threads that hand over batches; words of each response"""
RESAMPLES, SEED = 4000, 11
RECIPE = json.dumps({
    "dataset": "bench", "models": [{"name": "j", "model": "m", "revision": "1"}], "judging": {"judges": ["j"]},
})


@dataclass(frozen=True)
class Task:
    """One judging of one store, ready to be timed."""

    turn: Turn
    todo: pl.DataFrame
    members: list[Member]

    def requests(self) -> list[CallRequest]:
        """What it will ask."""
        return to_ask(self.turn, self.todo, self.members)

    def votes(self) -> int:
        """Judge the pairs; how many votes that gives."""
        return judged(self.turn, self.todo, self.members).filter(~pl.col("is_abstention")).height


def pairs(n: int) -> dict[str, pl.DataFrame]:
    """Frames of `n` pairs of two responses of WORDS words each."""
    rows = pl.DataFrame({"i": pl.int_range(n, eager=True)})
    said = {side: pl.concat_str([pl.lit(f"{side} "), "i", pl.lit(" word" * WORDS)]) for side in ("x", "y")}
    question = pl.concat_str([pl.lit('[{"role":"user","content":"question '), "i", pl.lit('"}]')])
    asked = rows.select("i", prompt=question, **said).with_columns(prompt_id=content_id_expr(["prompt"]))
    responses = asked.unpivot(["x", "y"], index=["i", "prompt_id"], value_name="text").with_columns(
        response_id=content_id_expr(["prompt_id", "text"]), text_id=content_id_expr(["text"]),
        form=pl.lit("text"), author=pl.lit(""),
    )
    texts = pl.concat([asked.select(text="prompt"), responses.select("text")])
    paired = responses.group_by("prompt_id").agg(
        response_a=pl.col("response_id").min(), response_b=pl.col("response_id").max()
    ).with_columns(
        pair_id=content_id_expr(["response_a", "response_b"]), origin=pl.lit("bench"), source=pl.lit("bench")
    )
    return {
        "texts": TEXTS.complete(texts.with_columns(text_id=content_id_expr(["text"]))),
        "prompts": PROMPTS.complete(asked.select(
            "prompt_id", text_id=content_id_expr(["prompt"]), source=pl.lit("bench"), group_id="prompt_id",
            near_id="prompt_id",
        )),
        "responses": RESPONSES.complete(responses.drop("i", "variable", "text")), "pairs": PAIRS.complete(paired),
    }  # fmt: skip


def task(root: Path, frames: dict[str, pl.DataFrame], settings: Settings) -> Task:
    """A store of its own that holds the pairs, its round opened, its list of pairs to judge made."""
    store, recipe = Store(root), bench_recipe()
    store.workspace.create()
    with store.write("bench") as writer:
        writer.append(frames)
    turn = open_round(store, engines_of(recipe, None, settings), recipe, thread_fan_out(WORKERS), lambda line: None)
    with store.write("bench") as writer:
        todo = writer.query("pairs_to_judge", {"panel": panel_of(turn, writer)}, sources=[], criterion="overall")
    return Task(turn, todo, judges_of(turn))


def bench_recipe() -> Recipe:
    """One served judge."""
    return parse_recipe(RECIPE)


def settings_for(server: ScriptedServer, concurrency: int) -> Settings:
    """The server as the only endpoint."""
    return Settings(endpoints=(Endpoint(model=server.model, url=server.url, concurrency=concurrency),))


def ours(server: ScriptedServer, frames: dict[str, pl.DataFrame], concurrency: int) -> float:
    """Calls per second of one judging."""
    with tempfile.TemporaryDirectory() as folder:
        ready = task(Path(folder) / "ws", frames, settings_for(server, concurrency))
        with closing(ready.turn.engines), timed() as t:
            n_votes = ready.votes()
    expect(n_votes, 2 * frames["pairs"].height, "votes")
    return n_votes / t.taken


async def bare(url: str, bodies: Sequence[dict[str, Any]], concurrency: int, *, is_shared: bool) -> list[str]:
    """Verdicts of the bodies, `concurrency` at a time, over one client each or over one for all."""
    left, verdicts, certificates = iter(bodies), list[str](), ssl.create_default_context()
    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)

    async def work(client: httpx.AsyncClient) -> None:
        for body in left:
            answer = await client.post(f"{url}/chat/completions", json=body)
            verdicts.append(answer.raise_for_status().json()["choices"][0]["message"]["content"])

    async with AsyncExitStack() as stack:
        made = [httpx.AsyncClient(verify=certificates, limits=limits, timeout=120)
                for _ in range(1 if is_shared else concurrency)]
        clients = [await stack.enter_async_context(client) for client in made]
        await asyncio.gather(*(work(clients[i % len(clients)]) for i in range(concurrency)))
    return verdicts


def bare_rate(server: ScriptedServer, bodies: Sequence[dict[str, Any]], concurrency: int, is_shared: bool) -> float:
    """Calls per second of the bare client."""
    with timed() as t:
        verdicts = asyncio.run(bare(server.url, bodies, concurrency, is_shared=is_shared))
    expect(len(verdicts), len(bodies), "verdicts")
    return len(bodies) / t.taken


def bodies_of(frames: dict[str, pl.DataFrame], server: ScriptedServer) -> list[dict[str, Any]]:
    """The same questions as the judge stage asks, ready to be sent."""
    with tempfile.TemporaryDirectory() as folder:
        ready = task(Path(folder) / "ws", frames, settings_for(server, 1))
        with closing(ready.turn.engines):
            requests = ready.requests()
    return [
        {"model": server.model, "messages": json.loads(r.messages), "max_tokens": 2, "logprobs": True,
         "top_logprobs": 5, "structured_outputs": {"choice": list(r.choices)}, **r.parameters}
        for r in requests
    ]


def interval(ratios: Sequence[float]) -> tuple[float, float]:
    """95 % bootstrap interval of the median."""
    drawn = np.random.default_rng(SEED).choice(np.asarray(ratios), size=(RESAMPLES, len(ratios)))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    return float(low), float(high)


def in_turns(runs: int, one: Callable[[], float], other: Callable[[], float]) -> tuple[list[float], list[float]]:
    """`runs` pairs of measurements, in alternating order, after one pair that is thrown away."""
    taken: tuple[list[float], list[float]] = ([], [])
    for run in range(runs + 1):
        for side in (0, 1) if run % 2 else (1, 0):
            taken[side].append((one, other)[side]())
    return taken[0][1:], taken[1][1:]


def calls(
    runs: int, n_calls: int, delays_ms: Sequence[int], levels: Sequence[int], *, is_shared: bool
) -> list[list[object]]:
    """Rows: delay, concurrency, calls, ours and bare in calls/s, ratio with interval."""
    rows: list[list[object]] = []
    with ScriptedServer() as server:
        for delay, level in [(d, c) for d in delays_ms for c in levels]:
            # At 20 ms one connection makes 50 calls a second: a shorter run says as much.
            n = n_calls if not delay else min(n_calls, 4000 * level // delay)
            server.set(delay_s=delay / 1000)
            frames = pairs(n // 2)
            bodies = bodies_of(frames, server)
            mine, theirs = in_turns(
                runs, partial(ours, server, frames, level), partial(bare_rate, server, bodies, level, is_shared)
            )
            ratios = [m / t for m, t in zip(mine, theirs, strict=True)]
            low, high = interval(ratios)
            rows.append([f"{delay} ms", level, n, statistics.median(mine), statistics.median(theirs),
                         statistics.median(ratios), f"{low:.2f} to {high:.2f}"])
            print(f"  {delay} ms, {level} in flight: {statistics.median(ratios):.2f}", file=sys.stderr)
    return rows


def known(n: int) -> tuple[pl.DataFrame, list[CallRequest]]:
    """Frame `calls` of `n` recorded verdicts, and the same questions again."""
    frame = pl.DataFrame({"i": pl.int_range(n, eager=True)}).select(
        call_key=content_id_expr([pl.lit("call"), "i"]), kind=pl.lit("judge"), voter=pl.lit("j"),
        template=pl.lit("pairwise@1"), subject=pl.lit("{}"), parameters=pl.lit("{}"), response=pl.lit("1"),
        finish_reason=pl.lit("stop"), choice_logprobs=pl.lit('{"1":-0.1,"2":-2.6,"T":-5.0}'), prompt_tokens=pl.lit(400),
        output_tokens=pl.lit(1), seconds=pl.lit(0.1), cost_usd=pl.lit(0.0), worker=pl.lit("1"),
        called_at=pl.lit("2026-01-02T03:04:05+00:00").str.to_datetime(time_zone="UTC"),
    )
    return CALLS.complete(frame), [CallRequest(key, "j", "{}", "") for key in frame["call_key"]]


def anti_join(database: Path, keys: pl.DataFrame) -> int:
    """Keys that are not recorded, with DuckDB alone."""
    connection = duckdb.connect(str(database), read_only=True)
    try:
        connection.register("keys", keys.to_arrow())
        sql = "SELECT call_key FROM keys ANTI JOIN calls ON calls.call_key = keys.call_key::UUID"
        return len(connection.sql(sql).fetchall())
    finally:
        connection.close()


def look_ups(runs: int, n: int) -> list[list[object]]:
    """Row: calls, ours and the anti-join in seconds, ratio with interval."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "ws")
        store.workspace.create()
        frame, requests = known(n)
        with store.write("bench") as writer:
            writer.append({"calls": frame})
            writer.publish()

        def through_the_store() -> float:
            with timed() as t:
                expect(len(unknown_calls(store, requests)), 0, "unknown calls")
            return t.taken

        def by_hand() -> float:
            keys = pl.DataFrame({"call_key": [r.call_key for r in requests]})
            with timed() as t:
                expect(anti_join(store.workspace.database, keys), 0, "unknown calls")
            return t.taken

        mine, theirs = in_turns(runs, through_the_store, by_hand)
    ratios = [m / t for m, t in zip(mine, theirs, strict=True)]
    low, high = interval(ratios)
    return [[n, statistics.median(mine), statistics.median(theirs), statistics.median(ratios),
             f"{low:.2f} to {high:.2f}"]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print both Markdown tables."""
    parser = argparse.ArgumentParser(description="What the judge stage costs beside a bare client.")
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--calls", type=int, default=CALLS_PER_RUN)
    parser.add_argument("--known", type=int, default=KNOWN)
    parser.add_argument("--delays", type=int, nargs="+", default=DELAYS_MS, help="of the server, in ms")
    parser.add_argument("--concurrency", type=int, nargs="+", default=CONCURRENCY)
    parser.add_argument("--shared", action="store_true", help="the bare client shares one httpx client")
    said = parser.parse_args(arguments)
    print(f"Judge stage, median of {said.runs} paired runs. {beside()}\n")
    columns = ["server's delay", "in flight", "calls", "ours, calls/s", "bare, calls/s", "ours / bare", "95 % interval"]
    print(markdown(columns, calls(said.runs, said.calls, said.delays, said.concurrency, is_shared=said.shared)))
    print(f"\nLook-up of known calls. {beside()}\n")
    columns = ["known calls", "ours, s", "bare anti-join, s", "ours / bare", "95 % interval"]
    print(markdown(columns, look_ups(said.runs, said.known)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
