"""A workspace as one file and back: a gzipped tar whose last member is the list of all others with their SHA-256.

What can be made again (published files, the catalog) or belongs to running processes (locks, Prefect's home, notes
of servers, the inbox once it is absorbed, files that are being written) stays out.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TypedDict

from schemas.errors import InputError, RefusedError, WorkspaceError
from warehouse.lock import try_lock
from warehouse.statements import names
from warehouse.workspace import Workspace

FORMAT = 1
TOP, CONTENTS = "workspace", "contents.json"
LARGEST_CONTENTS = 2**28
"""bytes of a list of contents, of about a million files; a larger one is no backup of ours and fills the memory"""
SPEED = 1
"""of gzip: Parquet and the database are compressed already"""
CHUNK = 1 << 20


class Member(TypedDict):
    """One file of a backup."""

    sha256: str
    bytes: int


class Contents(TypedDict):
    """What a backup says of itself."""

    format: int
    migrations: list[str]
    files: dict[str, Member]


@dataclass(frozen=True)
class Chosen:
    """What of a workspace goes into a backup."""

    files: list[Path]
    links: list[Path]
    """links, pipes and sockets: what they lead to is not the workspace's, but for its own places"""


def choose(workspace: Workspace, secrets: Path | None) -> Chosen:
    """Files that a backup holds, sorted; `secrets` is a file that it must not hold."""
    left_out = {workspace.server, workspace.serving, workspace.published, workspace.inbox, *_in_training(workspace)}
    files, links = [], []
    for folder, folders, found in os.walk(workspace.root, followlinks=True):
        here = Path(folder)
        links += [here / name for name in folders if _leads_away(workspace, here / name)]
        folders[:] = sorted(n for n in folders if not n.startswith(".") and here / n not in (*left_out, *links))
        paths = [here / name for name in found if not name.startswith(".") and not name.endswith((".lock", ".wal"))]
        links += [path for path in paths if _leads_away(workspace, path) or not path.is_file()]
        files += [path for path in paths if path not in links and path.resolve() != secrets]
    return Chosen(sorted(files), sorted(links))


def write_archive(workspace: Workspace, chosen: Chosen, out: Path) -> int:
    """Pack the files into `out`, which appears whole and never replaces anything; returns bytes before packing.

    The writer's lock is held and the database closed. Raises RefusedError when `out` exists or is being written,
    WorkspaceError when a file changes under the copy.
    """
    part = out.with_name(f".{out.name}.part")
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        if not try_lock(descriptor):
            raise RefusedError(f"{out} is being written", expected="nobody at it", next="name another file")
        file.truncate()
        n_bytes = _pack(workspace, chosen.files, file)
        file.flush()
        os.fsync(descriptor)
        _give_name(part, out)
    return n_bytes


def read_archive(file: Path, folder: Path) -> Contents:
    """Unpack a backup into `folder`, which is empty and ours; every file is checked against its SHA-256.

    Raises InputError for what is no backup, was cut off or changed, or names anything but files below `folder`;
    WorkspaceError for one of a newer Tiebreak.
    """
    seen: dict[str, Member] = {}
    contents: Contents | None = None
    try:
        with tarfile.open(file, "r|gz") as tar:
            for member in tar:
                contents = _read_member(tar, member, folder, seen, contents)
    except (tarfile.TarError, OSError, EOFError, zlib.error, LookupError, ValueError, TypeError, AttributeError,
            OverflowError, RecursionError) as error:
        raise _no_backup(file, f"{type(error).__name__}: {error}") from error
    if contents is None:
        raise _no_backup(file, "it ends before its list of contents")
    _require_known(file, contents)
    differing = sorted(name for name in {*seen, *contents["files"]} if seen.get(name) != contents["files"].get(name))
    if differing:
        raise _no_backup(file, f"{len(differing)} files are not as they were packed, first {differing[0]!r}")
    return contents


def _leads_away(workspace: Workspace, path: Path) -> bool:
    return path.is_symlink() and path not in workspace.places


def _in_training(workspace: Workspace) -> Iterator[Path]:
    """Folders in orders that a training is at or was killed in; done ones have an outcome and no such folder."""
    for order in workspace.orders.glob("*"):
        if not (order / "outcome.json").is_file():
            yield from (path for path in order.glob("*") if path.is_dir())
        yield order / "work"


def _pack(workspace: Workspace, files: list[Path], file: IO[bytes]) -> int:
    members: dict[str, Member] = {}
    with tarfile.open(fileobj=file, mode="w:gz", compresslevel=SPEED) as tar:
        for path in files:
            name = path.relative_to(workspace.root).as_posix()
            members[name] = _add(tar, f"{TOP}/{name}", path)
        contents = Contents(format=FORMAT, migrations=list(names("migrations")), files=members)
        said = json.dumps(contents, indent=1, sort_keys=True).encode()
        tar.addfile(_described(CONTENTS, len(said)), io.BytesIO(said))
    return sum(member["bytes"] for member in members.values())


def _add(tar: tarfile.TarFile, name: str, path: Path) -> Member:
    try:
        with path.open("rb") as file:
            seen, hashed = os.fstat(file.fileno()), _Hashed(file)
            n_bytes = seen.st_size
            tar.addfile(_described(name, n_bytes, seen.st_mode & 0o777), hashed)
            if file.read(1):
                raise _changed(path)
    except OSError as error:
        if error.errno not in (None, errno.ENOENT):
            raise  # a full disk, or a file that must not be read
        raise _changed(path) from error  # it is gone, or ends too early
    return Member(sha256=hashed.hexdigest(), bytes=n_bytes)


def _changed(path: Path) -> WorkspaceError:
    return WorkspaceError(f"{path.name} changed while it was copied", expected="nothing that writes", next="try again")


def _described(name: str, n_bytes: int, mode: int = 0o600) -> tarfile.TarInfo:
    described = tarfile.TarInfo(name)
    described.size, described.mode = n_bytes, mode
    return described


def _give_name(part: Path, out: Path) -> None:
    """A link fails where a rename would replace."""
    try:
        os.link(part, out)
    except FileExistsError as error:
        part.unlink()
        raise RefusedError(f"{out} exists", expected="a new file", next="name another --out") from error
    part.unlink()


def _read_member(
    tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, seen: dict[str, Member], contents: Contents | None
) -> Contents | None:
    parts = PurePosixPath(member.name).parts
    if not member.isreg() or member.issparse() or contents is not None:
        raise _no_backup(tar.name, f"member {member.name!r} is no plain file, or comes after the list of contents")
    source = tar.extractfile(member)
    if source is None:
        raise _no_backup(tar.name, f"member {member.name!r} cannot be read")
    if member.name == CONTENTS and member.size <= LARGEST_CONTENTS:
        return _contents(source.read())
    is_below = len(parts) > 1 and parts[0] == TOP and not {"..", "."} & set(member.name.split("/"))
    if not is_below or "\0" in member.name or member.name in seen:
        raise _no_backup(tar.name, f"member {member.name!r} is no file of a workspace")
    name = "/".join(parts[1:])
    seen[name] = _unpack(source, folder.joinpath(*parts[1:]), member.mode)
    return None


def _contents(raw: bytes) -> Contents:
    said = json.loads(raw)
    return Contents(
        format=int(said["format"]), migrations=[str(name) for name in said.get("migrations", [])],
        files={str(name): Member(sha256=str(m["sha256"]), bytes=int(m["bytes"])) for name, m in said["files"].items()},
    )


def _unpack(source: IO[bytes], path: Path, mode: int) -> Member:
    """Write one file that is not there yet; nothing is followed and nothing replaced. Nobody may run it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    hashed, n_bytes = _Hashed(source), 0
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, mode & 0o644 | 0o600)
    with os.fdopen(descriptor, "wb") as file:
        while piece := hashed.read(CHUNK):
            n_bytes += file.write(piece)
        file.flush()
        os.fsync(descriptor)
    return Member(sha256=hashed.hexdigest(), bytes=n_bytes)


def _require_known(file: Path, contents: Contents) -> None:
    newer = sorted(set(contents["migrations"]) - set(names("migrations")))
    if contents["format"] > FORMAT or newer:
        seen = newer[0] if newer else f"format {contents['format']}"
        raise WorkspaceError(f"{file.name} was written by a newer tiebreak ({seen})", next="upgrade tiebreak")


def _no_backup(file: object, why: str) -> InputError:
    return InputError(f"{file}: {why}", expected="a file that `tiebreak backup` wrote", next="name another backup")


class _Hashed:
    """A file that is hashed as it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._digest = file, hashlib.sha256()

    def read(self, n: int = -1) -> bytes:
        piece = self._file.read(n)
        self._digest.update(piece)
        return piece

    def hexdigest(self) -> str:
        return self._digest.hexdigest()
