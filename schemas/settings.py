"""Settings of the outside: where served models and annotators are, what they cost, how hard they may be asked.

Settings decide only where and how; none of them enters an id or a fingerprint. They hold *names* of
secrets, never secrets. Written as TOML, in `settings.toml` of the workspace or where TIEBREAK_SETTINGS
says.
"""

from __future__ import annotations

import re
import tomllib
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator

from schemas.errors import RecipeError
from schemas.sections import Section

Seconds = Annotated[float, Field(gt=0)]
SecretName = Annotated[str, Field(pattern=r"^([A-Z][A-Z0-9_]*)?$")]


def plain_address(url: str) -> str:
    """An http or https address without its last slash. Raises ValueError for one that carries a secret."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("an http or https address is expected")
    if parts.username or parts.password or parts.query:
        raise ValueError("no user, password or query in an address: the key goes into `key`, by name")
    return url.rstrip("/")


class Endpoint(Section):
    """One address at which one model is served, over the OpenAI-compatible API."""

    model: str
    """name under which it is served; `model` of the recipe's `[[models]]`"""
    url: str
    """for example http://127.0.0.1:8000/v1; without user, password or query"""
    key: SecretName = ""
    """name of an environment variable, or of an entry in the file TIEBREAK_SECRETS: capital letters, digits and _"""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """share of the calls it gets, against the other endpoints of its model"""
    concurrency: int = Field(32, ge=1)
    """calls in flight at most"""
    requests_per_minute: int = Field(0, ge=0)
    """0: no limit"""
    tokens_per_minute: int = Field(0, ge=0)
    """prompt and output tokens; 0: no limit"""

    @field_validator("url")
    @classmethod
    def _is_plain(cls, url: str) -> str:
        return plain_address(url)


class Price(Section):
    """What one model costs."""

    model: str
    """name under which it is served"""
    usd_per_million_prompt_tokens: float = Field(0.0, ge=0)
    """of what is sent"""
    usd_per_million_output_tokens: float = Field(0.0, ge=0)
    """of what comes back"""
    usd_per_hour: float = Field(0.0, ge=0)
    """of seconds that calls take, for one's own machines: shared evenly by the calls in flight"""


class Queue(Section):
    """One list of tasks on an annotation platform: a project of its own, for one person or a group."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,30}$")]
    """name of the queue: small letters, digits, - and _"""
    capacity: int = Field(0, ge=0)
    """open tasks at most; what does not fit waits for the next `send`; 0: no bound"""
    is_expert: bool = False
    """whether it takes what others leave open, and nothing else"""


class LabelStudio(Section):
    """A Label Studio server, one's own or the one that `make labelstudio` starts."""

    url: str
    """for example http://127.0.0.1:8080; without user, password or query"""
    token: SecretName = "LABEL_STUDIO_TOKEN"
    """name of an environment variable, or of an entry in the file TIEBREAK_SECRETS: a legacy or a personal token"""
    pseudonym_key: SecretName = "TIEBREAK_PSEUDONYM_KEY"
    """name of the secret that turns people into pseudonyms; another key makes other voters of the same people"""
    queues: tuple[Queue, ...] = (Queue(name="all"),)
    """projects, one each per dataset; two votes on one pair go to different queues where there are several"""
    timeout_s: Seconds = 60.0
    """a request that takes longer has failed"""

    @field_validator("url")
    @classmethod
    def _is_plain(cls, url: str) -> str:
        return plain_address(url)

    @field_validator("queues")
    @classmethod
    def _are_named(cls, queues: tuple[Queue, ...]) -> tuple[Queue, ...]:
        names = [queue.name for queue in queues]
        if len(set(names)) < len(names) or all(queue.is_expert for queue in queues):
            raise ValueError("queues of different names, one of them not for experts")
        return queues


class Schedules(Section):
    """When deployments run by themselves: five cron fields in UTC, or `every 600 s`; empty: by event or by hand."""

    round: str = ""
    """a round of the recipe; an open one is finished first"""
    collect: str = ""
    """taking in what people answered"""
    retrain: str = ""
    """training of what was released; beside the event of every release, which may be lost"""

    @field_validator("round", "collect", "retrain")
    @classmethod
    def _is_a_time(cls, said: str) -> str:
        if said and not re.fullmatch(r"every [1-9][0-9]* s|[0-9*/,A-Za-z-]+( [0-9*/,A-Za-z-]+){4}", said):
            raise ValueError("five cron fields as in '0 3 * * *', or 'every 600 s'")
        return said


class Base(Section):
    """A base model on the disk of the machine that trains."""

    base: str
    """as the recipe names it: `training.trl.base`"""
    folder: str
    """where it lies"""


class Workshop(Section):
    """Where language models are trained."""

    pool: str = ""
    """Prefect work pool whose workers train; empty: the process that runs `tiebreak retrain` does"""
    bases: tuple[Base, ...] = ()
    """where bases lie on the machine that trains; one without an entry comes from the hub"""
    device_batch_size: int = Field(4, ge=1)
    """pairs on the device at once; steps gather as many as the recipe says"""
    silence_s: Seconds = 900.0
    """a training that has told nothing for so long is dead"""
    max_failures: int = Field(3, ge=1)
    """a version whose training failed so often is left to its owner"""


class Settings(Section):
    """Where served models are and how they may be asked."""

    endpoints: tuple[Endpoint, ...] = ()
    """several of one model share its calls and stand in for each other"""
    prices: tuple[Price, ...] = ()
    """a model without one costs nothing"""
    in_process: tuple[str, ...] = ()
    """served names that vLLM runs in a process of its own, without a server: a batch of scores, embeddings or texts"""
    inference_python: str = ""
    """Python of the environment that holds vLLM; default .venv-inference/bin/python"""
    timeout_s: Seconds = 120.0
    """a call that takes longer has failed"""
    connect_timeout_s: Seconds = 5.0
    """an endpoint that does not take a connection in this time is down"""
    max_attempts: int = Field(6, ge=1)
    """per call, over all endpoints together"""
    backoff_s: Seconds = 0.5
    """mean of the first wait between attempts; doubles, with full jitter, up to a minute"""
    spend_usd_per_round: float | None = Field(None, ge=0)
    """money for calls in one round; a call that could exceed it is not made"""
    label_studio: LabelStudio | None = None
    """where people annotate"""
    training: Workshop = Workshop()
    """where language models are trained"""
    schedules: Schedules = Schedules()
    """when deployments run by themselves"""

    def endpoints_of(self, model: str) -> tuple[Endpoint, ...]:
        """Endpoints at which a served name is found."""
        return tuple(e for e in self.endpoints if e.model == model)

    def price_of(self, model: str) -> Price:
        """Price of a served name; free when none is written."""
        return next((p for p in self.prices if p.model == model), Price(model=model))


def parse_settings(text: str, *, origin: str = "settings.toml") -> Settings:
    """Settings from TOML. Raises RecipeError naming the first wrong field, never quoting a value."""
    try:
        return Settings.model_validate(tomllib.loads(text))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "settings"
        # The value is not quoted: whoever writes a key where its name belongs must not find it in a log.
        raise RecipeError(f"{origin}: {where}", expected=first["msg"], next="edit that field") from None
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{origin}: {error}", expected="TOML", next="mend the file") from None
