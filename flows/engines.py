"""Which engine stands behind each of the five verbs, for one recipe."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from curate.adapters.meter import Meter
from curate.adapters.replay import ReplayAnnotator
from curate.adapters.simulated import SimulatedJudges, SimulatedPolicies
from curate.adapters.simulated_people import SimulatedPeople
from curate.adapters.simulated_world import SimulatedWorld
from curate.adapters.trainer import EmbeddedTrainer
from curate.engines import Annotate, CallReply, CallRequest, Generate, Judge, Kind, Platform, Serve, Train
from flows.settings import secret
from schemas.errors import RecipeError
from schemas.recipe import Recipe
from schemas.sections import Model
from schemas.settings import LabelStudio, Queue, Settings

if TYPE_CHECKING:
    from curate.adapters.label_studio.platform import LabelStudioPlatform

NOWHERE = Settings()
"""settings of a recipe that asks no served model"""

Ask = Callable[[Sequence[CallRequest]], Iterator[CallReply]]


@dataclass(frozen=True)
class Engines:
    """The outside of one recipe. None: this recipe asks nobody for that."""

    generate: Generate | None
    judge: Judge | None
    train: Train
    world: SimulatedWorld | None
    recipe: Recipe
    meter: Meter | None = None
    serve: Serve | None = None
    settings: Settings = NOWHERE
    compared: set[str] = field(default_factory=set)
    """served models that this round has compared with what is recorded of them"""
    platform: Platform | None = None
    """where people work; None: made of the settings when it is needed"""
    made: list[LabelStudioPlatform] = field(default_factory=list)
    """the platform that was made of the settings, once"""
    guest: str = ""
    """name of a served model that no recipe names: a reward model of the workspace"""

    @property
    def queues(self) -> tuple[Queue, ...]:
        """Lists of tasks on the annotation platform. Raises RecipeError when settings name no platform."""
        return platform_settings(self.recipe, self.settings).queues

    def pseudonym_key(self) -> bytes:
        """What turns people into pseudonyms. Raises RecipeError when settings or the secret are missing."""
        return secret(platform_settings(self.recipe, self.settings).pseudonym_key).encode()

    def people(self) -> Platform:
        """The annotation platform of this recipe. Raises RecipeError when settings or secrets are missing."""
        if self.platform is not None:
            return self.platform
        if not self.made:
            from curate.adapters.label_studio.platform import LabelStudioPlatform

            settings = platform_settings(self.recipe, self.settings)
            self.made.append(LabelStudioPlatform(settings, secret(settings.token)))
        return self.made[0]

    def asker(self, kind: Kind) -> Ask:
        """What asks served models one kind of call, metered. Raises RecipeError when there are none."""
        if self.serve is None:
            raise RecipeError("no served model", expected="[[models]] in the recipe", next="see docs/vllm.md")
        serve = self.serve
        return lambda requests: self._metered(serve.ask(kind, requests))

    def ask_policies(self, requests: Sequence[CallRequest]) -> Iterator[CallReply]:
        """`generate` of the simulated world, metered."""
        return self._metered(self.generate.generate(requests) if self.generate else iter(()))

    def ask_judges(self, requests: Sequence[CallRequest]) -> Iterator[CallReply]:
        """`judge` of the simulated world, metered."""
        return self._metered(self.judge.judge(requests) if self.judge else iter(()))

    def is_served(self, name: str) -> bool:
        """Whether a name is one of the recipe's served models, or the guest's."""
        return name == self.guest or any(model.name == name for model in self.recipe.models)

    def identity(self, name: str) -> str:
        """Served model and revision behind a name of the recipe, or the simulated judge's identity.

        Raises RecipeError when nothing stands behind it.
        """
        engine = self.serve if self.is_served(name) else self.judge
        if engine is None:
            raise RecipeError(f"nobody answers as {name!r}", expected="a served model or a simulated judge",
                              next="name it in [[models]] or in [[world.judges]]")
        return engine.identity(name)

    def for_round(self, spent_usd: float) -> Engines:
        """These engines with `spent_usd` of this round's money gone."""
        if self.serve is not None or not self.recipe.models:
            return self
        return replace(self, serve=served(self.recipe.models, self.settings, spent_usd), compared=set())

    def beside(self, model: Model, settings: Settings, spent_usd: float) -> Engines:
        """These engines with one served model, which the recipe does not name, in the place of the recipe's."""
        serve = served((model,), settings, spent_usd)
        return replace(self, serve=serve, settings=settings, guest=model.name, made=[])

    def close(self) -> None:
        """Let go of connections and child processes."""
        if self.serve is not None:
            self.serve.close()
        while self.made:
            self.made.pop().close()

    def annotate(self, recorded: pl.DataFrame, sold: pl.DataFrame) -> Annotate | None:
        """People of this recipe. `recorded` and `sold` matter to `replay` only."""
        people = self.recipe.people
        if people.engine == "replay":
            return ReplayAnnotator(
                recorded, people.share_for_sale, people.cost_usd, self.recipe.seed, sold=sold["vote_id"].to_list()
            )
        if people.engine == "simulated" and self.world is not None:
            return SimulatedPeople(self.world, people.experts, self.recipe.criterion)
        return None

    def _metered(self, replies: Iterator[CallReply]) -> Iterator[CallReply]:
        return self.meter.count(replies) if self.meter else replies


def platform_settings(recipe: Recipe, settings: Settings) -> LabelStudio:
    """Where the people of a recipe work. Raises RecipeError saying what to write when settings do not tell."""
    found = settings.label_studio
    if found is None:
        raise RecipeError(
            "people.engine = 'label_studio' and no [label_studio] in the settings",
            expected='[label_studio] with url = "http://127.0.0.1:8080" and token = "LABEL_STUDIO_TOKEN"',
            next="write it into settings.toml of the workspace, see docs/settings.md")
    if recipe.routing.escalation == "expert" and not any(queue.is_expert for queue in found.queues):
        raise RecipeError(
            "routing.escalation = 'expert' and no queue for experts", expected="a queue with is_expert = true",
            next="add one to [[label_studio.queues]]")
    return found


def _check_people(recipe: Recipe, settings: Settings | None) -> None:
    """Everyone that the recipe wants to ask is there. Raises RecipeError saying who is not."""
    people, world = recipe.people, recipe.world
    if people.engine == "label_studio" and settings is not None:
        platform_settings(recipe, settings)
    if people.engine != "simulated" or world is None:
        return
    names = {annotator.name for annotator in world.annotators}
    if set(people.experts) - names or not names - set(people.experts):
        raise RecipeError(f"people.experts = {list(people.experts)}", expected=f"some of {sorted(names)}, not all",
                          next="mend people.experts")
    if recipe.routing.escalation == "expert" and not people.experts:
        raise RecipeError("routing.escalation = 'expert' and no expert", expected="people.experts",
                          next=f"name one of {sorted(names)}")


def engines_of(recipe: Recipe, meter: Path | None = None, settings: Settings | None = None) -> Engines:
    """Engines of a recipe. `meter` is a file in which providers bill each call they serve.

    Without settings nothing is reached, as far as people and served models go: enough to settle again.
    Raises RecipeError when given settings lack what the recipe needs.
    """
    _check_people(recipe, settings)
    world = SimulatedWorld(recipe.world) if recipe.world else None
    return Engines(
        generate=SimulatedPolicies(world) if world and world.world.policies else None,
        judge=SimulatedJudges(world) if world and world.world.judges else None,
        train=EmbeddedTrainer(),
        world=world,
        recipe=recipe,
        meter=Meter(meter) if meter else None,
        settings=settings or NOWHERE,
    )


def served(models: Sequence[Model], settings: Settings, spent_usd: float = 0.0) -> Serve:
    """Served models; nothing is connected before the first call."""
    from curate.adapters.vllm.served import ServedModels

    return ServedModels(models, settings, secret=secret, spent_usd=spent_usd)


def inference_python(settings: Settings) -> Path:
    """Python of the environment that holds vLLM and TRL. Raises RecipeError when it is not there."""
    from curate.adapters.vllm.in_process import PYTHON

    python = Path(settings.inference_python or PYTHON)
    if not python.is_file():
        raise RecipeError(
            f"no Python at {python}", expected="an environment that holds vLLM and TRL",
            next="make inference, or set inference_python in settings.toml",
        )
    return python
