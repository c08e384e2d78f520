"""The annotation platform of a recipe: its queues, what it must know to show them, and which tasks it was given."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from curate.annotating.assigning import ONBOARDING
from curate.annotating.guidelines import Guideline, parse_guideline, shipped_guideline
from curate.engines import Page, Platform
from flows.rounds import Turn
from schemas.errors import RecipeError
from schemas.settings import Queue
from warehouse.store import Writer
from warehouse.workspace import Workspace

EVERYONE = 1000
"""people who answer an onboarding task: more than any team has"""


@dataclass(frozen=True)
class Desk:
    """A platform in the hands of one run: engines, queues and the recipe's question put together."""

    turn: Turn
    platform: Platform
    guideline: Guideline
    """what annotators go by"""

    @property
    def queues(self) -> list[Queue]:
        """Queues of the settings."""
        return list(self.turn.engines.queues)

    def page(self, queue: str) -> Page:
        """What people see in a queue. The onboarding's tasks are answered by everyone, all others by one person."""
        people = self.turn.recipe.people
        return Page(
            dataset=self.turn.recipe.dataset, queue=queue, guideline=self.guideline.text, attributes=people.rate,
            asks_why=people.asks_why, is_blind=people.is_blind, overlap=EVERYONE if queue == ONBOARDING else 1)

    def project(self, queue: str) -> str:
        """Id of a queue's project on the platform, made or brought up to date."""
        return self.platform.prepare(self.page(queue))

    def place(self, project: str) -> str:
        """How the names of a project's submissions begin."""
        return f"{self.platform.system}/{project}"

    def tasks(self, writer: Writer) -> pl.DataFrame:
        """Every task of the dataset on this platform, as `queries/tasks_held.sql` tells it."""
        held = writer.query("tasks_held", dataset=self.turn.recipe.dataset)
        return held.filter(pl.col("system") == self.platform.system)


def desk_of(turn: Turn) -> Desk:
    """The platform that the recipe's people work on.

    Raises RecipeError when settings name none, InputError for an unknown or malformed guideline.
    """
    return Desk(turn, turn.engines.people(), guideline_of(turn.store.workspace, turn.recipe.people.guideline))


def guideline_of(workspace: Workspace, guideline: str) -> Guideline:
    """The workspace's own guideline of that name and version, else the shipped one."""
    name, _, version = guideline.partition("@")
    if not name.replace("-", "").isalnum() or not version.isdigit():
        raise RecipeError(f"guideline {guideline!r}", expected="name@version, like guideline@1",
                          next="mend people.guideline")
    own = workspace.instruments / f"{guideline}.md"
    if not own.is_file():
        return shipped_guideline(guideline)
    found = parse_guideline(own.read_text(encoding="utf-8"))
    if found.id != guideline:
        raise RecipeError(f"{own.name} calls itself {found.id}", expected=guideline, next="rename the file")
    return found
