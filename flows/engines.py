"""Which engine stands behind each of the five verbs, for one recipe."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from curate.adapters.meter import Meter
from curate.adapters.replay import ReplayAnnotator
from curate.adapters.simulated import SimulatedAnnotators, SimulatedJudges, SimulatedPolicies
from curate.adapters.simulated_world import SimulatedWorld
from curate.adapters.trainer import EmbeddedTrainer
from curate.engines import Annotate, CallReply, CallRequest, Generate, Judge, Kind, Serve, Train
from flows.settings import secret
from schemas.errors import RecipeError
from schemas.recipe import Recipe
from schemas.settings import Settings

if TYPE_CHECKING:
    from curate.adapters.vllm.served import ServedModels

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
        """Whether a judge's name is one of the recipe's served models."""
        return any(model.name == name for model in self.recipe.models)

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
        return replace(self, serve=served(self.recipe, self.settings, spent_usd), compared=set())

    def close(self) -> None:
        """Let go of connections and child processes."""
        if self.serve is not None:
            self.serve.close()

    def annotate(self, recorded: pl.DataFrame, sold: pl.DataFrame) -> Annotate | None:
        """People of this recipe. `recorded` and `sold` matter to `replay` only."""
        people = self.recipe.people
        if people.engine == "replay":
            return ReplayAnnotator(
                recorded, people.share_for_sale, people.cost_usd, self.recipe.seed, sold=sold["vote_id"].to_list()
            )
        if people.engine == "simulated" and self.world is not None:
            return SimulatedAnnotators(self.world, criterion=self.recipe.criterion)
        return None

    def _metered(self, replies: Iterator[CallReply]) -> Iterator[CallReply]:
        return self.meter.count(replies) if self.meter else replies


def engines_of(recipe: Recipe, meter: Path | None = None, settings: Settings | None = None) -> Engines:
    """Engines of a recipe. `meter` is a file in which providers bill each call they serve."""
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


def served(recipe: Recipe, settings: Settings, spent_usd: float = 0.0) -> ServedModels:
    """The recipe's served models; nothing is connected before the first call."""
    from curate.adapters.vllm.served import ServedModels

    return ServedModels(recipe.models, settings, secret=secret, spent_usd=spent_usd)
