"""Doctor: what is wrong with this installation or workspace, and the command that mends it.

Looks change nothing and run side by side, each with a bound: under two seconds where no server is named.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from flows import doctor_installation as installed
from flows import doctor_servers as servers
from flows import doctor_settings as said
from flows import doctor_workspace as lying
from flows.doctor_row import Row, row
from schemas.errors import WorkspaceError
from schemas.recipe import Recipe
from schemas.settings import Settings
from warehouse.workspace import FORMAT, Workspace

Look = Callable[[], list[Row]]
AT_ONCE = 16
"""looks that wait for somebody at the same time"""


def examine(root: Path) -> list[Row]:
    """One row per check: check, state (ok, note, fault), seen, mend."""
    workspace = Workspace(root)
    looks: list[Look] = [installed.installation, partial(lying.disks, root)]
    if (refused := _refused(workspace)) is not None:
        return _all([*looks, *_environments(Settings(), None), lambda: [refused]])
    recipe, recipe_row = lying.recipe_of(workspace)
    settings, settings_rows = said.settings_of(workspace)
    return _all([
        *looks, *_environments(settings, recipe), partial(lying.workspace_rows, workspace),
        lambda: [recipe_row, *settings_rows], *_agreement(settings, recipe), partial(said.secrets, settings),
        partial(servers.prefect, workspace, settings.training.pool), *_outside(settings),
    ])


def _refused(workspace: Workspace) -> Row | None:
    """Why every command would refuse this workspace; None when they take it."""
    if not (workspace.root / "workspace.json").is_file():
        mend = f"tiebreak --workspace {workspace.root} init"
        return row("workspace", "note", f"none in {workspace.root}", mend)
    try:
        workspace.require()
    except WorkspaceError as error:
        # The file says the format and nothing else, and there has been one format so far: it can be written again.
        marker = shlex.quote(str(workspace.root / "workspace.json"))
        mend = f"echo '{{\"format\": {FORMAT}}}' > {marker}" if "damaged" in error.seen else error.next
        return row("workspace", "fault", error.seen, mend)
    return None


def _environments(settings: Settings, recipe: Recipe | None) -> list[Look]:
    python = Path(settings.inference_python) if settings.inference_python else installed.INFERENCE
    trains_here = recipe is not None and recipe.training.engine == "trl" and not settings.training.pool
    is_needed = bool(settings.in_process or settings.inference_python or trains_here)
    return [
        partial(installed.inference, python, is_needed=is_needed),
        partial(installed.label_studio, installed.LABEL_STUDIO),
    ]


def _agreement(settings: Settings, recipe: Recipe | None) -> list[Look]:
    """Recipe against settings, where there is a recipe to hold them against."""
    return [] if recipe is None else [partial(said.names, settings, recipe), partial(said.people, settings, recipe)]


def _outside(settings: Settings) -> list[Look]:
    """A look per server of the settings."""
    looks: list[Look] = [
        partial(_listed, partial(servers.endpoint, one, settings.connect_timeout_s)) for one in settings.endpoints
    ]
    if settings.label_studio is not None:
        looks.append(partial(_listed, partial(servers.label_studio, settings.label_studio)))
    return [*looks, partial(servers.clock, servers.addresses(settings))]


def _listed(look: Callable[[], Row]) -> list[Row]:
    return [look()]


def _all(looks: list[Look]) -> list[Row]:
    """Every look's rows, in the order of the looks."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(lambda look: look(), looks))
    return [one for rows in found for one in rows]
