"""Where things lie in a workspace. Nothing outside this module spells a path of it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import WorkspaceError

FORMAT = 1


@dataclass(frozen=True)
class Workspace:
    """A folder that holds one warehouse. It may be moved: it stores no path of itself."""

    root: Path

    @property
    def database(self) -> Path:
        """The writer's file. Only the holder of `lock` opens it."""
        return self.root / "warehouse.duckdb"

    @property
    def lock(self) -> Path:
        """`writer.lock`: pid, host and flow of the writer, under an advisory lock of the system."""
        return self.root / "writer.lock"

    @property
    def inbox(self) -> Path:
        """Call lines and Parquet segments that wait for the writer."""
        return self.root / "inbox"

    @property
    def texts(self) -> Path:
        """Immutable Parquet shards of texts."""
        return self.root / "texts"

    @property
    def published(self) -> Path:
        """What readers read: Parquet, a manifest, a catalog of views."""
        return self.root / "published"

    @property
    def models(self) -> Path:
        """One folder per reward model."""
        return self.root / "models"

    @property
    def orders(self) -> Path:
        """One folder per language model that is trained elsewhere: what to train on, and what came of it."""
        return self.root / "orders"

    @property
    def serving(self) -> Path:
        """One note per reward model that `tiebreak serve-rm` serves."""
        return self.root / "serving"

    @property
    def exports(self) -> Path:
        """Training folders and exports."""
        return self.root / "exports"

    @property
    def recipe(self) -> Path:
        """The recipe that `tiebreak run` takes when none is named."""
        return self.root / "recipe.toml"

    @property
    def settings(self) -> Path:
        """Where served models are and what they cost; TIEBREAK_SETTINGS names another file."""
        return self.root / "settings.toml"

    @property
    def instruments(self) -> Path:
        """Questions of this workspace's own, as Markdown; beside those that are shipped."""
        return self.root / "instruments"

    @property
    def server(self) -> Path:
        """Prefect's home of this workspace."""
        return self.root / "prefect"

    @property
    def places(self) -> tuple[Path, ...]:
        """What holds the workspace's own things. One may be a link, to a larger disk say, and is followed."""
        return (self.database, self.texts, self.models, self.orders, self.exports, self.recipe, self.settings,
                self.instruments)

    def create(self) -> bool:
        """Make the folders; False when the workspace was there already."""
        marker = self.root / "workspace.json"
        if marker.is_file():
            self.require()
            return False
        try:
            for folder in (self.root, self.inbox, self.texts, self.published, self.models, self.exports):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WorkspaceError(
                f"{self.root}: {error.strerror}", expected="a folder that can be made and written", next="name another"
            ) from error
        replace_text(marker, json.dumps({"format": FORMAT}) + "\n")
        return True

    def require(self) -> Workspace:
        """This workspace, or WorkspaceError when it is absent, damaged or newer than this code."""
        marker = self.root / "workspace.json"
        if not marker.is_file():
            raise WorkspaceError(f"no workspace in {self.root}", next=f"tiebreak --workspace {self.root} init")
        try:
            found = int(json.loads(marker.read_text())["format"])
        except (ValueError, KeyError, TypeError) as error:
            raise WorkspaceError(f"{marker} is damaged", expected='{"format": 1}', next="restore a backup") from error
        if found > FORMAT:
            raise WorkspaceError(f"workspace format {found}", expected=f"at most {FORMAT}", next="upgrade tiebreak")
        return self


def sync(path: Path) -> None:
    """Put a file that somebody else wrote on the disk, before a rename makes it the one that counts."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_text(path: Path, text: str, *, mode: int = 0o666) -> None:
    """Write `text` so that a reader sees the old file or the new one, never a part; `mode` is masked by the umask."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
