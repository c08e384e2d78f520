"""Where a trained language model is served: by an endpoint of the settings, by `tiebreak serve-rm`, or in process."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from flows.engines import inference_python
from schemas.errors import RecipeError, RefusedError
from schemas.settings import Endpoint, Settings
from warehouse.lock import holder
from warehouse.workspace import Workspace, replace_text


class Named(Protocol):
    """As much of a trained model as is needed to find it."""

    @property
    def name(self) -> str:
        """its name"""
        ...

    @property
    def voter(self) -> str:
        """name under which it is served"""
        ...

    @property
    def uri(self) -> str:
        """of its folder, from the workspace"""
        ...

    @property
    def sha256(self) -> str:
        """of its folder"""
        ...


@dataclass(frozen=True)
class Note:
    """What `tiebreak serve-rm` leaves for rounds of its workspace while it runs."""

    url: str
    """with /v1"""
    model: str
    pid: int
    """of vLLM, the leader of its process group"""
    sha256: str


def note_file(workspace: Workspace, model: str) -> Path:
    """Where the note of a model is."""
    return workspace.serving / f"{model}.json"


def lock_file(workspace: Workspace, model: str) -> Path:
    """What a server holds while it serves: the kernel lets go of it when the process dies, however it dies."""
    return workspace.serving / f"{model}.lock"


def write_note(workspace: Workspace, note: Note) -> None:
    """Leave a note; readers see it whole."""
    replace_text(note_file(workspace, note.model), json.dumps(asdict(note)) + "\n")


def read_note(workspace: Workspace, model: str) -> Note | None:
    """The note that is there, whether or not its server still lives; None for none and for a damaged one."""
    try:
        return Note(**json.loads(note_file(workspace, model).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def living_note(workspace: Workspace, model: str, sha256: str) -> Note | None:
    """The note of a server that runs now and serves these weights."""
    note = read_note(workspace, model)
    is_living = note is not None and holder(lock_file(workspace, model)) is not None
    return note if note is not None and is_living and note.sha256 == sha256 else None


def reached(workspace: Workspace, settings: Settings, model: Named) -> Settings:
    """The settings with a way to the model. Raises RefusedError when there is none."""
    if settings.endpoints_of(model.voter):
        return settings
    note = living_note(workspace, model.name, model.sha256)
    if note is not None:
        found = Endpoint(model=model.voter, url=note.url)
        return settings.model_copy(update={"endpoints": (*settings.endpoints, found)})
    return _in_process(workspace, settings, model)


def _in_process(workspace: Workspace, settings: Settings, model: Named) -> Settings:
    from curate.adapters.vllm.in_process import places

    if model.voter in places(settings):
        return settings
    try:
        inference_python(settings)
        folder = checked_folder(workspace, model)
    except RecipeError:
        raise RefusedError(
            f"nobody serves {model.voter}", expected="a server of it, or an environment that holds vLLM",
            next=f"tiebreak serve-rm {model.name}",
        ) from None
    return settings.model_copy(update={"in_process": (*settings.in_process, f"{model.voter}={folder}")})


def checked_folder(workspace: Workspace, model: Named) -> Path:
    """The folder of its weights, if it holds what was trained. Raises RefusedError when it was changed or is gone."""
    from curate.adapters.trl.orders import folder_sha256

    folder = (workspace.root / model.uri).resolve()
    seen = folder_sha256(folder) if folder.is_dir() else "none"
    if seen != model.sha256:
        raise RefusedError(f"{folder}: sha256 {seen}", expected=model.sha256, next="restore the folder from a backup")
    return folder
