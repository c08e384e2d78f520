"""Five protocols, one per kind of outside help: generate, judge, score, annotate, train.

An engine is asked for many things at once and yields each reply as soon as it is known; whoever
asked records it before taking the next. So a killed process loses only what was in flight, and an
engine with many connections needs no wall of its own. Engines never see the warehouse.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

import polars as pl

from schemas.recipe import Tuning

Kind = Literal["generate", "judge", "score", "embed", "likelihood"]


@dataclass(frozen=True)
class CallRequest:
    """One request to a model, already keyed. What it asks for follows from the kind of call:

    kind         sent                                            `response` of the reply
    generate     messages                                        the text, or JSON that keeps `schema`
    judge        messages, or prompt with first and second       one of `choices`
    score        messages, the last one an assistant's           the reward as a decimal number, no activation
    embed        prompt                                          JSON list of numbers
    likelihood   messages, the last one an assistant's           log p of that last message in nats, decimal
    """

    call_key: str
    voter: str
    """judge, policy or model that is asked, by the recipe's name for it"""
    subject: str
    """JSON of the row ids it is about; opaque to the engine"""
    prompt: str
    first: str = ""
    """judge: the text shown first"""
    second: str = ""
    """judge: the text shown second"""
    instrument: str = ""
    sample: int = 0
    """index of the sample when one prompt is sampled several times"""
    parameters: Mapping[str, str | int | float] = field(default_factory=dict)
    """temperature, top_p, max_tokens, seed: whatever decides the answer beside the texts"""
    messages: str = ""
    """JSON list of {role, content}, ready to be sent; simulated engines read the texts instead"""
    choices: tuple[str, ...] = ()
    """the answer is exactly one of these, with a log probability each where the model gives them"""
    schema: str = ""
    """JSON Schema, as JSON, that the answer keeps"""


@dataclass(frozen=True)
class CallReply:
    """What came back, raw. `finish_reason` other than "stop" is a failed call: no vote is made of it.

    Only an answer of the model is a reply: a call that never reached one (refused connection, rate limit, time-out
    on every endpoint) raises `CallFailedError` when all others of its batch have been yielded, and is asked again
    by the next run. Finish reasons beside "stop": "length" (cut off), "content_filter", "invalid_json" (does not
    keep the schema after the bounded repair), "not_a_choice" (the constraint was not kept).
    """

    call_key: str
    response: str
    finish_reason: str = "stop"
    choice_logprobs: Mapping[str, float] | None = None
    """natural log probabilities over the request's choices ("1", "2", "tie" without any), normalised over them"""
    prompt_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0
    cost_usd: float = 0.0
    logprob_sum: float | None = None
    """natural log probability of the whole response under the policy that wrote it, when the model gives it"""


class Serve(Protocol):
    """Served models: whatever is asked by a `CallRequest`. What stands behind all kinds of call."""

    def voters(self) -> pl.DataFrame:
        """Frame `voters`, one row per model, under its recipe's name."""
        ...

    def identity(self, name: str) -> str:
        """Served model and revision behind a recipe's name: part of the call key, free of any address."""
        ...

    def ask(self, kind: Kind, requests: Sequence[CallRequest]) -> Iterator[CallReply]:
        """One reply per answered request, in any order, each as soon as it is known.

        Raises CallFailedError at the end if some were not answered, SpendLimitError when no money is left.
        """
        ...

    def fingerprint(self, name: str) -> tuple[float, ...] | None:
        """What a model makes of fixed texts, asked anew: log-likelihoods, or rewards. Other weights give others.

        None: the server gives neither.
        """
        ...

    def close(self) -> None:
        """Let go of connections and child processes."""
        ...


class Generate(Protocol):
    """Policies that answer prompts."""

    def voters(self) -> pl.DataFrame:
        """Frame `voters` is empty for policies; kept so that every engine can present itself."""
        ...

    def identity(self, policy: str) -> str:
        """Served model and revision behind a policy's name: part of the call key."""
        ...

    def generate(self, requests: Sequence[CallRequest]) -> Iterator[CallReply]:
        """One reply per request, in any order; the response is the text."""
        ...


class Judge(Protocol):
    """Judges that read both responses of a pair."""

    def voters(self) -> pl.DataFrame:
        """Frame `voters`, one row per judge this engine can ask."""
        ...

    def identity(self, judge: str) -> str:
        """Served model and revision behind a judge's name: part of the call key."""
        ...

    def judge(self, requests: Sequence[CallRequest]) -> Iterator[CallReply]:
        """One reply per request, in any order; the response is "1", "2" or "tie"."""
        ...


class Score(Protocol):
    """A reward model."""

    def score(self, comparisons: pl.DataFrame) -> pl.DataFrame:
        """Frame `comparisons` in; (pair_id, score_a, score_b, fold, is_out_of_fold) out, rows in order.

        Raises RefusedError for a pair of a training group that the model cannot score out of fold.
        """
        ...


class Annotate(Protocol):
    """People. Sending ends at once; answers are collected later, in any order, perhaps never."""

    def voters(self) -> pl.DataFrame:
        """Frame `voters`, one row per annotator known so far."""
        ...

    def send(self, tasks: pl.DataFrame) -> pl.DataFrame:
        """Frame `tasks` in; (task_key, external_id) out. Sending the same task again changes nothing."""
        ...

    def collect(self, tasks: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Open tasks with columns task_key, pair_id, round_id, shown_first, prompt, text_a, text_b in.

        Out: frames `votes` and `answers` for those that came to an end. Asking again gives the same ids.
        """
        ...


@dataclass(frozen=True)
class Page:
    """What an annotation platform needs to know of one queue to show its tasks."""

    dataset: str
    queue: str
    guideline: str
    """Markdown, shown beside every task"""
    attributes: tuple[str, ...] = ()
    """rated from 1 to 5 on each response"""
    asks_why: bool = True
    is_blind: bool = True
    overlap: int = 1
    """people who answer each task"""


@dataclass(frozen=True)
class Changes:
    """What an annotation platform tells since a moment."""

    submissions: pl.DataFrame
    """frame PULLED; one row per submission that is new, edited, skipped or deleted, unchanged ones may be among them"""
    watermark_at: datetime | None
    """ask again from here; None: nothing was ever seen"""


class Platform(Protocol):
    """An annotation platform: a foreign server where people work whenever they like. It knows no opinion of ours.

    Every method raises PlatformError: what the server said, what was expected, what to do next.
    """

    @property
    def system(self) -> str:
        """Name and installation, free of user, password and token: part of every submission's name."""
        ...

    def prepare(self, page: Page) -> str:
        """The project of a queue, made or brought up to date; its id. A second time: nothing changes."""
        ...

    def send(self, project: str, cards: pl.DataFrame) -> pl.DataFrame:
        """Frame CARDS in; (task_key, external_id) out, one row each. A card that is there already is not sent twice."""
        ...

    def pull(self, project: str, since: datetime | None) -> Changes:
        """What changed since `since`, with overlap; from the beginning for None."""
        ...

    def held(self, project: str) -> pl.DataFrame:
        """(external_id, task_key, n_submissions) of every task there; task_key null for one that is not ours."""
        ...

    def recall(self, project: str, external_ids: Sequence[str]) -> pl.DataFrame:
        """(external_id, is_gone): take tasks back that nobody has answered; one with an answer stays."""
        ...


@dataclass(frozen=True)
class TrainedModel:
    """What a training left behind."""

    folder: Path
    sha256: str
    metrics: Mapping[str, float]


class Train(Protocol):
    """A training program: a dataset folder and a config in, a model folder and metrics out."""

    def train(self, dataset: Path, config: Mapping[str, object], out: Path) -> TrainedModel:
        """Train on `dataset` (an export) and write the model into `out`; resumes what a kill left there."""
        ...


@dataclass(frozen=True)
class TrainingOrder:
    """One training of a language model, as it lies in a folder that the trainer's machine sees too.

    Beside `order.json` (this) lie `train.parquet` (frame LESSONS) and `measure.parquet` (frame READINGS).
    """

    model: str
    """name of the model that comes of it"""
    tuning: Tuning
    seed: int
    train_sha256: str
    """of the bytes of train.parquet: the trainer refuses another file"""
    measure_sha256: str


@dataclass(frozen=True)
class TrainingOutcome:
    """What an order came to: everything is in the order's folder, written whole before `outcome.json`."""

    folder: Path
    """weights, tokenizer with chat template, `model.json`, `metrics.json`, `README.md` (model card)"""
    sha256: str
    """over names and bytes of the folder's files"""
    scale: float
    """sigma(margin / scale) is a probability, fitted on the validation groups"""
    metrics: Mapping[str, float]
    """n_train, n_validation, n_too_long, n_ties, accuracy, log_loss, tokens_per_second, seconds, steps"""
    groups: frozenset[str]
    """hashed ids of the groups it was trained on"""
    rewards: pl.DataFrame
    """(response_id, reward) of measure.parquet, by the trained model, raw"""


def one_per_call(requests: Iterable[CallRequest]) -> list[CallRequest]:
    """Requests without repeated call keys: equal questions are asked once."""
    return list({r.call_key: r for r in requests}.values())
