"""Backup and restore: what comes back is what was there, from a file that nobody changed, or nothing comes back."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Tiebreak, in_process
from small_rows import call, votes
from small_versions import released

from flows.archiving import backup, restore
from flows.verifying import verify_version
from schemas.errors import InputError, LockHeldError, RefusedError, TiebreakError, WorkspaceError
from schemas.tables import TABLES
from warehouse.lock import writer_lock
from warehouse.reader import Reader
from warehouse.store import Store

pytestmark = pytest.mark.service
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def tiebreak(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tiebreak:
    return in_process(capsys, monkeypatch)


@pytest.fixture(scope="module")
def once(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a workspace of one version and its backup."""
    folder = tmp_path_factory.mktemp("once")
    shutil.copytree(migrated, folder / "ws")
    released(Store(folder / "ws"))
    backup(folder / "ws", folder / "backup.tar.gz")
    return folder


@pytest.fixture
def packed(once: Path, tmp_path: Path) -> Path:
    """The backup, in a folder of this test's own, beside the workspace that it was taken of."""
    shutil.copytree(once, tmp_path, dirs_exist_ok=True)
    return tmp_path / "backup.tar.gz"


def rows_of(root: Path) -> dict[str, list[str]]:
    """Every row of every table as text."""
    with Reader(root) as reader:
        return {name: sorted(reader.sql(f"FROM {name}").write_ndjson().splitlines()) for name in TABLES}


def members(file: Path) -> list[str]:
    with tarfile.open(file) as tar:
        return tar.getnames()


def repacked(file: Path, change: Callable[[str, bytes], tuple[str, bytes] | None], *more: tarfile.TarInfo) -> Path:
    """The backup again with every member put through `change`, and others before them."""
    out = file.with_name("other.tar.gz")
    with tarfile.open(file) as old, tarfile.open(out, "w:gz") as new:
        for extra in more:
            new.addfile(extra, io.BytesIO(b"x" * extra.size))
        for member in old.getmembers():
            source = old.extractfile(member)
            kept = change(member.name, source.read() if source else b"")
            if kept:
                described = tarfile.TarInfo(kept[0])
                described.size = len(kept[1])
                new.addfile(described, io.BytesIO(kept[1]))
    return out


def as_it_is(name: str, content: bytes) -> tuple[str, bytes]:
    return name, content


def test_every_row_every_model_and_every_setting_comes_back(store: Store, tmp_path: Path) -> None:
    released(store)
    root = store.workspace.root
    (root / "recipe.toml").write_text('dataset = "d"\n')
    (root / "models" / "m").mkdir()
    (root / "models" / "m" / "weights").write_bytes(os.urandom(100))
    facts = backup(root, tmp_path / "b.tar.gz")
    told = restore(tmp_path / "back", tmp_path / "b.tar.gz")
    assert rows_of(tmp_path / "back") == rows_of(root)
    for name in ("recipe.toml", "models/m/weights"):
        assert (tmp_path / "back" / name).read_bytes() == (root / name).read_bytes()
    assert (told["verified"], told["pairs"], told["votes"]) == ("d@1", 4, 4)
    assert told["files"] == facts["files"]
    assert verify_version(tmp_path / "back", "d", 1, is_recomputed=False)["stored"] == "equal"


def test_what_waits_in_the_inbox_and_in_the_log_of_the_database_is_in_the_backup(store: Store, tmp_path: Path) -> None:
    released(store)
    with store.inbox("w") as inbox:
        inbox.record(call("waiting"))
    backup(store.workspace.root, tmp_path / "b.tar.gz")
    restore(tmp_path / "back", tmp_path / "b.tar.gz")
    with Reader(tmp_path / "back") as reader:
        assert reader.sql("SELECT count(*) AS n FROM calls")["n"].item() == 1
    assert not [name for name in members(tmp_path / "b.tar.gz") if name.endswith(".wal")]


def test_processes_keys_and_what_can_be_made_again_stay_out(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released(store)
    root = store.workspace.root
    secrets = root / "secrets.toml"
    for path in (root / "prefect" / "prefect.db", root / "serving" / "rm.json", root / "round-d.lock",
                 root / ".recipe.toml.1.tmp", root / "orders" / "m" / "work" / "state", secrets):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("not this")
    (root / "orders" / "m" / "order.json").write_text("{}")
    (root / "link").symlink_to("/etc/hostname")
    monkeypatch.setenv("TIEBREAK_SECRETS", str(secrets))
    facts = backup(root, tmp_path / "b.tar.gz")
    found = {name.removeprefix("workspace/") for name in members(tmp_path / "b.tar.gz")}
    shards = {name for name in found if name.startswith("texts/")}
    assert found - shards == {"workspace.json", "warehouse.duckdb", "orders/m/order.json", "contents.json"}
    assert shards
    assert facts["links left out"] == 1


def test_places_of_the_workspace_that_are_links_are_in_the_backup(store: Store, tmp_path: Path) -> None:
    released(store)
    root, disk = store.workspace.root, tmp_path / "disk"
    for name in ("texts", "models"):
        shutil.move(root / name, disk / name)
        (root / name).symlink_to(disk / name)
    (disk / "models" / "weights").write_bytes(b"w")
    (disk / "models" / "back").symlink_to(root)
    (disk / "r.toml").write_text('dataset = "d"\n')
    (root / "recipe.toml").symlink_to(disk / "r.toml")
    assert backup(root, tmp_path / "b.tar.gz")["links left out"] == 1
    assert restore(tmp_path / "back", tmp_path / "b.tar.gz")["verified"] == "d@1"
    assert (tmp_path / "back" / "models" / "weights").read_bytes() == b"w"
    assert (tmp_path / "back" / "recipe.toml").read_text() == 'dataset = "d"\n'


def test_what_only_the_owner_may_read_comes_back_so_and_nothing_comes_back_to_be_run(
    store: Store, tmp_path: Path
) -> None:
    modes = {"settings.toml": 0o600, "recipe.toml": 0o644, "program": 0o777}
    for name, mode in modes.items():
        (store.workspace.root / name).touch()
        (store.workspace.root / name).chmod(mode)
    backup(store.workspace.root, tmp_path / "b.tar.gz")
    assert (tmp_path / "b.tar.gz").stat().st_mode & 0o777 == 0o600
    restore(tmp_path / "back", tmp_path / "b.tar.gz")
    found = {name: (tmp_path / "back" / name).stat().st_mode & 0o777 for name in modes}
    assert found == {"settings.toml": 0o600, "recipe.toml": 0o644, "program": 0o644}


def test_the_catalog_of_a_restored_workspace_reads_where_it_is_now(packed: Path, tmp_path: Path) -> None:
    import duckdb

    restore(tmp_path / "back", packed)
    shutil.rmtree(tmp_path / "ws")
    connection = duckdb.connect(str(tmp_path / "back" / "published" / "catalog.duckdb"), read_only=True)
    assert connection.execute("SELECT count(*) FROM preferences").fetchone() == (4,)
    connection.close()


def test_a_backup_replaces_nothing_and_does_not_hold_itself(store: Store, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    for out in (tmp_path / "mine", store.workspace.root / "b.tar.gz"):
        with pytest.raises(RefusedError, match="a new file elsewhere"):
            backup(store.workspace.root, out)
    assert (tmp_path / "mine").read_text() == "mine"
    with pytest.raises(InputError, match="no folder"):
        backup(store.workspace.root, tmp_path / "nowhere" / "b")


def test_a_file_that_came_while_it_was_packed_is_not_replaced(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "b.tar.gz"
    true = tarfile.TarFile.close

    def close(tar: tarfile.TarFile) -> None:
        out.write_text("somebody else's")
        true(tar)

    monkeypatch.setattr(tarfile.TarFile, "close", close)
    with pytest.raises(RefusedError, match="exists"):
        backup(store.workspace.root, out)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.tar.gz", "ws"]
    assert out.read_text() == "somebody else's"


def test_nothing_is_packed_while_somebody_writes(store: Store, tmp_path: Path) -> None:
    impatient = Store(store.workspace.root, lock_wait=0.0)
    with writer_lock(store.workspace.lock, "round"), pytest.raises(LockHeldError), impatient.hold("backup"):
        pass


def test_a_file_that_grows_while_it_is_packed_ends_the_backup(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grown = store.workspace.root / "models" / "log"
    grown.write_bytes(b"x" * 10)
    true = tarfile.TarFile.addfile

    def addfile(tar: tarfile.TarFile, described: tarfile.TarInfo, source: object = None) -> None:
        if described.name.endswith("log"):
            with grown.open("ab") as file:
                file.write(b"more")
        true(tar, described, source)  # type: ignore[arg-type]

    monkeypatch.setattr(tarfile.TarFile, "addfile", addfile)
    with pytest.raises(WorkspaceError, match="changed while it was copied"):
        backup(store.workspace.root, tmp_path / "b.tar.gz")
    assert not (tmp_path / "b.tar.gz").exists()


def flipped(name: str, content: bytes) -> tuple[str, bytes]:
    is_shard = name.startswith("workspace/texts/")
    return name, (content[:40] + bytes([content[40] ^ 1]) + content[41:] if is_shard else content)


def without_shards(name: str, content: bytes) -> tuple[str, bytes] | None:
    return None if name.startswith("workspace/texts/") else (name, content)


def without_contents(name: str, content: bytes) -> tuple[str, bytes] | None:
    return None if name == "contents.json" else (name, content)


def no_list(name: str, content: bytes) -> tuple[str, bytes]:
    return name, (b"[7]" if name == "contents.json" else content)


def odd_list(name: str, content: bytes) -> tuple[str, bytes]:
    return name, (b'{"format": 1, "files": [7]}' if name == "contents.json" else content)


def deep_list(name: str, content: bytes) -> tuple[str, bytes]:
    return name, (b"[" * 200_000 if name == "contents.json" else content)


def newer(name: str, content: bytes) -> tuple[str, bytes]:
    said = json.loads(content) if name == "contents.json" else {}
    return name, (json.dumps({**said, "migrations": ["9999_of_tomorrow"]}).encode() if said else content)


@pytest.mark.parametrize(("change", "error", "seen"), [
    (flipped, InputError, "not as they were packed"), (without_shards, InputError, "not as they were packed"),
    (no_list, InputError, "TypeError"), (odd_list, InputError, "AttributeError"), (deep_list, InputError, "Recursion"),
    (without_contents, InputError, "before its list"), (newer, WorkspaceError, "newer tiebreak .9999_of_tomorrow"),
])
def test_a_backup_that_is_not_as_it_was_packed_brings_nothing_back(
    packed: Path, tmp_path: Path, change: Callable[[str, bytes], tuple[str, bytes] | None],
    error: type[TiebreakError], seen: str,
) -> None:
    with pytest.raises(error, match=seen):
        restore(tmp_path / "back", repacked(packed, change))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["backup.tar.gz", "other.tar.gz", "ws"]


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    described = tarfile.TarInfo(name)
    described.type, described.linkname = kind, link
    return described


@pytest.mark.parametrize("hostile", [
    entry("../evil"), entry("/tmp/evil"), entry("workspace/../../evil"), entry("workspace/./evil"), entry("evil"),
    entry("workspace/evil", tarfile.SYMTYPE, "/etc"), entry("workspace/evil", tarfile.LNKTYPE, "../../ws/recipe.toml"),
    entry("workspace/evil", tarfile.CHRTYPE), entry("workspace/evil", tarfile.FIFOTYPE),
    entry("workspace/evil", tarfile.DIRTYPE), entry("workspace/workspace.json"), entry("workspace/evil"),
    entry("workspace"), entry("workspace/warehouse.duckdb/evil"),
], ids=lambda e: f"{e.name}-{e.type.decode()}")
def test_a_file_that_reaches_out_of_its_place_brings_nothing_back(
    packed: Path, tmp_path: Path, hostile: tarfile.TarInfo
) -> None:
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(InputError, match="expected a file that `tiebreak backup` wrote"):
        restore(tmp_path / "back", repacked(packed, as_it_is, hostile))
    (tmp_path / "other.tar.gz").unlink()
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    assert not list(tmp_path.parent.glob("evil"))


@pytest.mark.parametrize("content", [b"", b"hello", gzip.compress(b"hello", mtime=0), "cut off"])
def test_what_is_no_backup_is_one_line(tiebreak: Tiebreak, packed: Path, tmp_path: Path, content: bytes | str) -> None:
    raw = packed.read_bytes()
    (tmp_path / "x").write_bytes(raw[: len(raw) // 2] if isinstance(content, str) else content)
    said = tiebreak(tmp_path / "back", "restore", str(tmp_path / "x"))
    assert said.is_one_line_of_yours()
    assert not (tmp_path / "back").exists()


def test_a_folder_that_holds_something_is_left_as_it_is(packed: Path, tmp_path: Path) -> None:
    (tmp_path / "back").mkdir()
    (tmp_path / "back" / "mine").write_text("mine")
    with pytest.raises(RefusedError, match="a new or empty folder"):
        restore(tmp_path / "back", packed)
    assert [p.name for p in (tmp_path / "back").iterdir()] == ["mine"]
    (tmp_path / "back" / "mine").unlink()
    assert restore(tmp_path / "back", packed)["pairs"] == 4


def test_rows_that_break_a_check_are_not_brought_back(store: Store, tmp_path: Path) -> None:
    frames = released(store)
    with store.write("test") as writer:
        writer.append({"votes": votes(frames["pairs"], "nobody")})
    backup(store.workspace.root, tmp_path / "b.tar.gz")
    with pytest.raises(RefusedError, match="votes_of_nobody"):
        restore(tmp_path / "back", tmp_path / "b.tar.gz")
    assert not (tmp_path / "back").exists()


KILLED = """
import os, signal, sys, tarfile
from flows.archiving import backup, restore
from pathlib import Path
import warehouse.archive as archive
left = [int(sys.argv[4])]
def dying(true):
    def step(*arguments, **named):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return true(*arguments, **named)
    return step
archive._add, archive._unpack, archive._give_name = map(dying, (archive._add, archive._unpack, archive._give_name))
os.link, Path.replace = dying(os.link), dying(Path.replace)
{"backup": backup, "restore": restore}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
"""


def killed(verb: str, root: Path, file: Path, n: int) -> int:
    """Exit status of a backup or restore that is killed at its n-th step."""
    done = subprocess.run([sys.executable, "-c", KILLED, verb, str(root), str(file), str(n)], check=False,
                          capture_output=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    return done.returncode


def test_a_killed_backup_leaves_no_file_and_can_be_repeated(store: Store, tmp_path: Path) -> None:
    released(store)
    out = tmp_path / "b.tar.gz"
    for n in (1, 4):
        assert killed("backup", store.workspace.root, out, n) == -signal.SIGKILL
        assert not out.exists()
    backup(store.workspace.root, out)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.tar.gz", "ws"]
    assert restore(tmp_path / "back", out)["pairs"] == 4


def test_a_killed_restore_leaves_the_folder_as_it_was_and_can_be_repeated(packed: Path, tmp_path: Path) -> None:
    for n in (1, 3):
        assert killed("restore", tmp_path / "back", packed, n) == -signal.SIGKILL
        assert not (tmp_path / "back").exists()
    assert restore(tmp_path / "back", packed)["verified"] == "d@1"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["back", "backup.tar.gz", "ws"]


def test_packing_takes_no_more_memory_than_a_piece_of_a_file(store: Store, tmp_path: Path) -> None:
    with (store.workspace.root / "models" / "big").open("wb") as file:
        file.truncate(96 * 2**20)
    program = ("import resource, sys; from pathlib import Path; from flows.archiving import backup, restore\n"
               "import flows.verifying  # the engines that a check of versions loads are not what is measured\n"
               "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
               "backup(Path(sys.argv[1]), Path(sys.argv[2])); restore(Path(sys.argv[3]), Path(sys.argv[2]))\n"
               "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)")
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program, str(store.workspace.root), str(tmp_path / "b"), str(tmp_path / "back")],
        capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert int(done.stdout) < 64 * 1024, f"{done.stdout} KiB, {time.monotonic() - began:.0f} s"
    assert (tmp_path / "back" / "models" / "big").stat().st_size == 96 * 2**20
