"""Settings decide only where and how: environment variables, never part of a recipe or a fingerprint."""

from __future__ import annotations

import os
import stat
import tomllib
from pathlib import Path

from schemas.errors import RecipeError
from schemas.settings import Settings, parse_settings
from warehouse.workspace import Workspace

DEFAULT_WORKERS = 4


def n_workers() -> int:
    """TIEBREAK_WORKERS: threads that call engines in single-stage commands and direct runs."""
    said = os.environ.get("TIEBREAK_WORKERS", str(DEFAULT_WORKERS))
    if not said.isdigit() or int(said) < 1:
        raise RecipeError(f"TIEBREAK_WORKERS = {said!r}", expected="a number from 1 on", next="unset it")
    return int(said)


def meter_path() -> Path | None:
    """TIEBREAK_METER: a file in which simulated providers bill every call they serve."""
    said = os.environ.get("TIEBREAK_METER")
    return Path(said) if said else None


def serving_settings(workspace: Workspace) -> Settings:
    """Where served models are: the file TIEBREAK_SETTINGS, else the workspace's settings.toml, else nowhere.

    Raises RecipeError for a file that cannot be read or says something unknown.
    """
    named = os.environ.get("TIEBREAK_SETTINGS")
    path = Path(named) if named else workspace.settings
    if not named and not path.is_file():
        return Settings()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(
            f"{path}: cannot be read", expected="settings as TOML", next="check TIEBREAK_SETTINGS"
        ) from error
    return parse_settings(text, origin=str(path))


def secret(name: str) -> str:
    """A secret by its name: of the environment, else of the TOML file TIEBREAK_SECRETS (mode 600).

    Raises RecipeError naming the secret, never showing one.
    """
    if name in os.environ:
        return os.environ[name]
    held = _secrets_file().get(name)
    if not isinstance(held, str):
        raise RecipeError(
            f"no secret {name!r}", expected="an environment variable, or an entry of the file TIEBREAK_SECRETS",
            next=f"export {name}=...",
        )
    return held


def _secrets_file() -> dict[str, object]:
    named = os.environ.get("TIEBREAK_SECRETS")
    if not named:
        return {}
    path = Path(named)
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise RecipeError("the file TIEBREAK_SECRETS is readable by others", expected="mode 600",
                              next=f"chmod 600 {path}")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        # What the parser quotes could be a secret.
        raise RecipeError("the file TIEBREAK_SECRETS cannot be read", expected="TOML, name = \"value\"",
                          next=f"check {path}") from None
