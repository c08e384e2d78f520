"""What settings say, held against the recipe and the secrets: nobody is asked over a network."""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path

from flows.doctor_row import Row, row
from flows.settings import secret, serving_settings
from schemas.errors import RecipeError
from schemas.recipe import Recipe
from schemas.settings import Settings
from warehouse.workspace import Workspace

LEAST_KEY_BYTES = 16
"""of a pseudonym key, as curate/annotating/pseudonyms.py asks for"""
REWARD_MODEL = "rm/"
"""how names begin under which trained language models are served"""


def settings_of(workspace: Workspace) -> tuple[Settings, list[Row]]:
    """The settings, empty when they cannot be read, and what was seen of them."""
    try:
        settings = serving_settings(workspace)
    except RecipeError as error:
        seen = f"{error.seen}; expected {error.expected}" if error.expected else error.seen
        return Settings(), [row("settings", "fault", seen, error.next)]
    return settings, []


def names(settings: Settings, recipe: Recipe) -> list[Row]:
    """Models that the recipe names and nobody serves; endpoints and prices of models that it does not name."""
    wanted = [model.model for model in recipe.models]
    in_process = {one.partition("=")[0] for one in settings.in_process}
    served = {endpoint.model for endpoint in settings.endpoints} | in_process
    priced = {price.model for price in settings.prices}
    missing = [
        row(f"model {model}", "fault", "the recipe names it, no endpoint serves it",
            f'add to settings.toml: [[endpoints]] model = "{model}", url = "http://HOST:PORT/v1"')
        for model in wanted if model not in served
    ]
    unknown = sorted(name for name in served | priced if name not in wanted and not name.startswith(REWARD_MODEL))
    if unknown and wanted:
        seen = f"{', '.join(unknown)}: no model of the recipe"
        missing.append(row("settings", "note", seen[:200], "check the spelling against `model` of [[models]]"))
    return missing


def people(settings: Settings, recipe: Recipe) -> list[Row]:
    """Whether a recipe that asks people of a platform has one, with the queues that it needs."""
    if recipe.people.engine != "label_studio":
        return []
    if settings.label_studio is None:
        mend = 'add to settings.toml: [label_studio] url = "http://127.0.0.1:8080"'
        return [row("Label Studio", "fault", "the recipe asks people there, settings name no server", mend)]
    if recipe.routing.escalation == "expert" and not any(q.is_expert for q in settings.label_studio.queues):
        mend = 'add to settings.toml: [[label_studio.queues]] name = "experts", is_expert = true'
        return [row("Label Studio", "fault", "escalation to experts, and no queue for them", mend)]
    return []


def secrets(settings: Settings) -> list[Row]:
    """The file of secrets, and each secret that settings name: is it there, never what it is."""
    rows, platform = _file(), settings.label_studio
    wanted = {endpoint.key: 1 for endpoint in settings.endpoints if endpoint.key}
    if platform is not None:
        wanted |= {platform.token: 1, platform.pseudonym_key: LEAST_KEY_BYTES}
    return [*rows, *(_secret(name, least) for name, least in sorted(wanted.items()) if name)]


def _secret(name: str, least: int) -> Row:
    try:
        held = secret(name)
    except RecipeError as error:
        return row(f"secret {name}", "fault", error.seen, error.next)
    where = "the environment" if name in os.environ else "the file TIEBREAK_SECRETS"
    if len(held.encode()) < least:
        seen = f"in {where}, {len(held.encode())} bytes; {least} or more are needed"
        return row(f"secret {name}", "fault", seen, f"export {name}=$(openssl rand -hex 32), once and for good")
    return row(f"secret {name}", "ok", f"in {where}")


def _file() -> list[Row]:
    """The file TIEBREAK_SECRETS, where it is named: there, and for its owner only."""
    named = os.environ.get("TIEBREAK_SECRETS")
    if not named:
        return []
    try:
        mode = stat.S_IMODE(Path(named).stat().st_mode)
    except OSError as error:
        seen = f"{named}: {error.strerror}"
        return [row("TIEBREAK_SECRETS", "fault", seen, "unset TIEBREAK_SECRETS, or name a file")]
    if mode & 0o077:
        seen = f"{named} can be read by others (mode {mode:o})"
        return [row("TIEBREAK_SECRETS", "fault", seen, f"chmod 600 {shlex.quote(named)}")]
    return [row("TIEBREAK_SECRETS", "ok", f"{named}, mode {mode:o}")]
