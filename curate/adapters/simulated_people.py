"""Annotators of a simulated world, experts apart."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from curate.adapters.simulated import SimulatedAnnotators
from curate.adapters.simulated_world import SimulatedWorld
from schemas.sections import SimulatedVoter


class SimulatedPeople:
    """The engine `annotate` over a simulated world of which some annotators are experts.

    Experts are given the tasks that are to be adjudicated, and nothing else.
    """

    def __init__(self, world: SimulatedWorld, experts: Sequence[str], criterion: str) -> None:
        everyone = world.world.annotators
        self._everyone = SimulatedAnnotators(world, criterion=criterion)
        self._experts = _some(world, [a for a in everyone if a.name in experts], criterion)
        self._others = _some(world, [a for a in everyone if a.name not in experts], criterion)

    def voters(self) -> pl.DataFrame:
        """Frame `voters`, one row per annotator, experts among them."""
        return self._everyone.voters()

    def send(self, tasks: pl.DataFrame) -> pl.DataFrame:
        """(task_key, external_id) of every task; nothing leaves the machine."""
        return self._everyone.send(tasks)

    def collect(self, tasks: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Frames `votes` and `answers` of open tasks with `purpose`; every task is answered."""
        is_final = pl.col("purpose") == "adjudicate"
        parts = [people.collect(tasks.filter(mine))
                 for people, mine in ((self._others, ~is_final), (self._experts, is_final)) if people is not None]
        votes, answers = (pl.concat(frames) for frames in zip(*parts, strict=True))
        return votes, answers


def _some(world: SimulatedWorld, annotators: Sequence[SimulatedVoter], criterion: str) -> SimulatedAnnotators | None:
    """Annotators of the same world, alone; None for nobody. Who is in it changes no truth and no text."""
    if not annotators:
        return None
    alone = SimulatedWorld(world.world.model_copy(update={"annotators": tuple(annotators)}))
    return SimulatedAnnotators(alone, criterion=criterion)
