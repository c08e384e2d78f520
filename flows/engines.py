"""Which engine stands behind each of the five verbs, for one recipe."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from curate.adapters.meter import Meter
from curate.adapters.replay import ReplayAnnotator
from curate.adapters.simulated import SimulatedAnnotators, SimulatedJudges, SimulatedPolicies
from curate.adapters.simulated_world import SimulatedWorld
from curate.adapters.trainer import EmbeddedTrainer
from curate.engines import Annotate, CallReply, CallRequest, Generate, Judge, Kind, Serve, Train
from schemas.errors import RecipeError
from schemas.recipe import Recipe

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

    def asker(self, kind: Kind) -> Ask:
        """What asks served models one kind of call, metered."""
        if self.serve is None:
            raise RecipeError("no served model", expected="[[models]] in the recipe and [[endpoints]] in settings.toml")
        serve = self.serve

        def asking(requests: Sequence[CallRequest]) -> Iterator[CallReply]:
            replies = serve.ask(kind, requests)
            return self.meter.count(replies) if self.meter else replies

        return asking

    def ask_policies(self, requests: Sequence[CallRequest]) -> Iterator[CallReply]:
        """`generate`, metered."""
        replies = self.generate.generate(requests) if self.generate else iter(())
        return self.meter.count(replies) if self.meter else replies

    def ask_judges(self, requests: Sequence[CallRequest]) -> Iterator[CallReply]:
        """`judge`, metered."""
        replies = self.judge.judge(requests) if self.judge else iter(())
        return self.meter.count(replies) if self.meter else replies

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


def engines_of(recipe: Recipe, meter: Path | None = None) -> Engines:
    """Engines of a recipe. `meter` is a file in which simulated providers bill each call they serve."""
    world = SimulatedWorld(recipe.world) if recipe.world else None
    return Engines(
        generate=SimulatedPolicies(world) if world and world.world.policies else None,
        judge=SimulatedJudges(world) if world and world.world.judges else None,
        train=EmbeddedTrainer(),
        world=world,
        recipe=recipe,
        meter=Meter(meter) if meter else None,
    )
