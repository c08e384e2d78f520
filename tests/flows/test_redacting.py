"""Erasure: not a byte of what is erased is left in the workspace, and what is left explains itself."""

from __future__ import annotations

import datetime as dt
import html
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from command_line import Tiebreak, in_process
from small_rows import NOW, call, labels, votes, world
from small_versions import id_of, release, released
from workspace_traces import traces

from flows.archiving import backup
from flows.exporting import export_version, write_training_folder
from flows.ingest import ingest
from flows.redacting import redact
from flows.verifying import verify_version
from schemas.errors import InputError, RefusedError
from schemas.ids import content_id, text_id
from schemas.tables import CALLS, GOLD, PAIR_TAGS, RESPONSES, TABLES, TASKS, TEXTS
from warehouse.erasure import pending
from warehouse.lock import writer_lock
from warehouse.reader import Reader
from warehouse.store import Store

pytestmark = [pytest.mark.service, pytest.mark.usefixtures("uncatalogued")]

SECRET = 'My neighbour\'s name is "Amélie", she lives at 7 Rue des Lilas\nand nobody knows'
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def tiebreak(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tiebreak:
    return in_process(capsys, monkeypatch)


def telling(secret: str = SECRET) -> dict[str, pl.DataFrame]:
    """`world(4)` in which one response is the secret, another prompt quotes it, and a call wrote it."""
    frames = world(4)
    quoting = json.dumps([{"role": "user", "content": f"You said: {secret}. Why?"}], ensure_ascii=False)
    texts = frames["texts"].with_columns(
        text=pl.col("text").replace({"bad 1": secret, '[{"role":"user","content":"question 2"}]': quoting}),
        text_id=pl.col("text_id").replace({id_of("bad 1"): text_id(secret)}))
    key = call("wrote it")["call_key"]
    said = frames["responses"].with_columns(
        text_id=pl.col("text_id").replace({id_of("bad 1"): text_id(secret)}),
        call_key=pl.when(pl.col("text_id") == id_of("bad 1")).then(pl.lit(key)))
    return {**frames, "texts": TEXTS.complete(texts), "responses": RESPONSES.complete(said)}


@pytest.fixture
def told(once: Path, tmp_path: Path) -> Store:
    """The secret in every place where a workspace can hold one; exported to `out` before."""
    shutil.copytree(once, tmp_path / "ws")
    return Store(tmp_path / "ws", lock_wait=0.2)


@pytest.fixture(scope="module")
def once(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("once")
    shutil.copytree(migrated, folder / "ws")
    tell(Store(folder / "ws"), folder / "out")
    return folder / "ws"


def tell(store: Store, out: Path) -> None:
    frames = telling()
    released(store, **frames)
    root, pair = store.workspace.root, frames["pairs"]["pair_id"][0]
    task = {"task_key": content_id("t"), "pair_id": pair, "route_id": content_id("r"), "round_id": content_id("o"),
            "queue": "q", "shown_first": "a", "is_prefilled": False, "system": "ls", "external_id": "17",
            "sent_at": NOW, "purpose": "gold"}
    moment = dt.datetime.now(dt.UTC)
    wrote = {**call("wrote it"), "kind": "generate", "response": json.dumps({"response": SECRET}), "called_at": moment}
    verdict = json.dumps({"reason": f"it says {SECRET}", "verdict": 1})
    judged = {**call("judged"), "response": verdict, "called_at": moment}
    secret_pair = _pair_with(store, text_id(SECRET))
    with store.write("test") as writer:
        writer.append({
            "calls": CALLS.complete(pl.DataFrame([wrote, judged])),
            "votes": votes(frames["pairs"], "judge", rationale=f"because: {SECRET}"),
            "pair_tags": PAIR_TAGS.complete(pl.DataFrame([
                {"pair_id": pair, "key": "k", "value": json.dumps({"v": SECRET}), "tagger": "t"}])),
            "tasks": TASKS.complete(pl.DataFrame([{**task, "pair_id": secret_pair}])),
        })
        release(writer, labels(frames["pairs"], p_a=0.8), 2)
        writer.publish()
        members = writer.query("version_members", dataset="d", n=2)
    write_training_folder(store.workspace, "d", 2, members)
    for form in ("hf", "openrlhf"):
        export_version(root, "d", 1, root / "exports" / form, form)
    export_version(root, "d", 1, out, "trl")
    _further_files(root, members)
    with store.inbox("w") as inbox:
        inbox.record({**call("late"), "response": SECRET})


def _pair_with(store: Store, of: str) -> str:
    with Reader(store.workspace.root) as reader:
        return str(reader.sql("SELECT pair_id::VARCHAR AS p FROM pairs JOIN responses ON response_id IN "
                              "(response_a, response_b) WHERE text_id = $t::UUID", t=of)["p"].item())


def _further_files(root: Path, members: pl.DataFrame) -> None:
    """An order that nothing came of, a log, a page that shows it in two parts, an unfinished file."""
    first, rest = html.escape(SECRET[:70]), html.escape(SECRET[70:])
    (root / "report.html").write_text(f"<div>{first}</div><details>{rest}</details>")
    (root / "orders" / "d-2-0000aaaa").mkdir(parents=True)
    members.select("pair_id", "text_a", "text_b").write_parquet(root / "orders" / "d-2-0000aaaa" / "train.parquet")
    (root / "training.log").write_text(f"step 1\n{SECRET}\nstep 2\n")
    (root / "report.json").write_text(json.dumps([SECRET, json.dumps(SECRET)]))


PARTS = ("Amélie", "Am\\u00e9lie", "Rue des Lilas", "and nobody knows")


def test_the_search_finds_the_text_where_it_was_put(told: Store) -> None:
    found = traces(told.workspace.root, *PARTS)
    assert {"training.log", "report.json", "calls", "votes", "texts", "pair_tags", "train.parquet read"} <= set(found)
    assert any(name.endswith(".arrow") for name in found)


def test_not_a_byte_of_an_erased_text_is_left(told: Store, once: Path) -> None:
    facts = redact(told.workspace.root, text_id=text_id(SECRET), voter=None, reason="asked for by Amélie")
    with told.write("test") as writer:
        writer.check()
        reasons = writer.query("tombstones_of", version="d@1")["reason"].to_list()
    assert reasons == ["asked for by Amélie"]
    assert traces(told.workspace.root, *PARTS[2:]) == []
    assert facts["still in"] == "none"
    assert facts["versions that held it"] == "d@1, d@2"
    assert facts["tasks that show it"] == "ls task 17"
    assert f"d@1 as trl in {(once.parent / 'out').resolve()}" in str(facts["exports made earlier"])
    assert not (told.workspace.root / "orders" / "d-2-0000aaaa").exists()


ASKED = '[{"role":"user","content":"question 2"}]'
"""the prompt whose text became one that quotes the secret"""


def test_not_a_byte_of_an_erased_prompt_is_left_where_it_stands_as_a_message(told: Store) -> None:
    root, said = told.workspace.root, f"You said: {SECRET}. Why?"
    (root / "page.html").write_text(f"<p>{html.escape(said)}</p>")
    (root / "orders" / "d-2-0000aaaa" / "train.parquet").unlink()
    messages = json.dumps([{"role": "system", "content": "s"}, {"role": "user", "content": said}], ensure_ascii=False)
    pl.DataFrame({"messages": [messages]}).write_parquet(root / "orders" / "d-2-0000aaaa" / "train.parquet")
    assert len(traces(root, "You said")) > 5
    redact(root, text_id=id_of(ASKED), voter=None, reason="r")
    assert traces(root, "You said") == []
    assert not (root / "orders" / "d-2-0000aaaa").exists()
    assert traces(root, "question 1") != []


@pytest.mark.parametrize(("what", "reason"), [
    ({"text_id": text_id(SECRET), "voter": None}, f"it says {SECRET}"),
    ({"text_id": None, "voter": "ann"}, "asked for by ann"),
])
def test_a_reason_that_repeats_what_is_erased_is_refused(
    told: Store, what: dict[str, str | None], reason: str
) -> None:
    with pytest.raises(InputError, match="a reason that may stay"):
        redact(told.workspace.root, **what, reason=reason)
    assert pending(told.workspace) is None


def test_an_erasure_killed_at_its_very_end_is_done(told: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Notes are overwritten before they are removed: a blank one says nothing."""
    root = told.workspace.root
    unfinished = root / ".redaction.json.9.tmp"
    unfinished.write_text(json.dumps({"words": "ann", "salt": "s"}))
    redact(root, text_id=None, voter="ann", reason="left")
    assert not unfinished.exists()
    (root / "redaction.json").write_text(" " * 99)
    assert pending(told.workspace) is None
    assert "done already" in redact(root, text_id=None, voter="ann", reason="left")


def test_what_is_left_of_other_texts_and_rows_is_as_it_was(told: Store) -> None:
    root = told.workspace.root
    with Reader(root) as reader:
        before = {name: reader.sql(f"SELECT count(*) AS n FROM {name}")["n"].item() for name in TABLES}
        quoting = reader.sql("SELECT prompt FROM preferences WHERE prompt LIKE '%You said%'")["prompt"].item()
    redact(root, text_id=text_id(SECRET), voter=None, reason="r")
    with Reader(root) as reader:
        after = {name: reader.sql(f"SELECT count(*) AS n FROM {name}")["n"].item() for name in TABLES}
        now = reader.sql("SELECT prompt FROM preferences WHERE prompt LIKE '%You said%'")["prompt"].item()
        answers = reader.sql("SELECT response, finish_reason FROM calls ORDER BY finish_reason").rows()
    assert {name: (before[name], after[name]) for name in TABLES if before[name] != after[name]} == {
        "texts": (12, 11), "tombstones": (0, 1), "runs": (0, 3), "calls": (2, 3)}  # runs and a call were in the inbox
    assert json.loads(now) == [{"role": "user", "content": "You said: [erased]. Why?"}]
    assert len(now) < len(quoting)
    assert ("[erased]", "erased") in answers
    assert json.loads({finish: said for said, finish in answers if said.startswith("{")}["stop"])["verdict"] == 1


def test_a_version_that_held_it_is_verified_and_says_what_was_erased(told: Store) -> None:
    redact(told.workspace.root, text_id=text_id(SECRET), voter=None, reason="asked for")
    for n in (1, 2):
        facts = verify_version(told.workspace.root, "d", n, is_recomputed=False)
        assert facts["stored"] == "equal"
        assert str(facts["erased since"]).endswith(": asked for")


def test_no_export_shows_the_pair_and_the_card_says_so(told: Store, tmp_path: Path) -> None:
    redact(told.workspace.root, text_id=text_id(SECRET), voter=None, reason="asked for")
    export_version(told.workspace.root, "d", 1, tmp_path / "late", "openrlhf")
    assert pl.read_parquet(tmp_path / "late" / "train.parquet").height == 3
    text = (tmp_path / "late" / "card.md").read_text()
    assert "- pairs left out because a text of theirs was erased: 1\n" in text
    assert "asked for" in text


def test_the_pair_is_out_of_scope_from_now_on(told: Store) -> None:
    redact(told.workspace.root, text_id=text_id(SECRET), voter=None, reason="asked for")
    with told.write("test") as writer:
        assert writer.query("scope_pairs", sources=[]).height == 3


def test_gate_gold_of_an_erased_text_measures_nothing_any_more(told: Store) -> None:
    with told.write("test") as writer:
        pairs = writer.query("scope_pairs", sources=[])["pair_id"]
        gold = {"criterion": "overall", "p_a": 1.0, "p_tie": 0.0, "why": "w", "source": "hand", "use": "gate"}
        writer.append({"gold": GOLD.complete(pl.DataFrame([{**gold, "pair_id": pair} for pair in pairs]))})
        writer.publish()
    assert _gate_gold(told) == (4, 8)
    redact(told.workspace.root, text_id=text_id(SECRET), voter=None, reason="asked for")
    assert _gate_gold(told) == (3, 7)


def _gate_gold(store: Store) -> tuple[int, int]:
    """Pairs of gate gold and responses to be read for them."""
    with Reader(store.workspace.root) as reader:
        said = {"criterion": "overall", "sources": []}
        return reader.query("gate_gold", **said).height, reader.query("gold_readings", **said).height


def test_an_erased_text_that_is_ingested_again_does_not_come_back(told: Store, tmp_path: Path) -> None:
    redact(told.workspace.root, text_id=text_id(SECRET), voter=None, reason="asked for")
    row = {"prompt": "question 9", "response_a": SECRET, "response_b": "another"}
    (tmp_path / "again.jsonl").write_text(json.dumps(row))
    ingest(told, str(tmp_path / "again.jsonl"))
    assert traces(told.workspace.root, *PARTS[2:]) == []
    with told.write("test") as writer:
        writer.check()
        assert writer.query("scope_pairs", sources=["again"]).height == 0


@pytest.mark.parametrize("what", [{"text_id": text_id(SECRET), "voter": None}, {"text_id": None, "voter": "ann"}])
def test_asking_again_says_that_it_was_done(told: Store, what: dict[str, str | None]) -> None:
    redact(told.workspace.root, **what, reason="first")
    before = (told.workspace.root / "warehouse.duckdb").read_bytes()
    facts = redact(told.workspace.root, **what, reason="second")
    assert str(facts["done already"]).endswith(": first")
    assert facts["versions that held it"] == "d@1, d@2"
    assert (told.workspace.root / "warehouse.duckdb").read_bytes() == before


@pytest.mark.parametrize(("arguments", "seen"), [
    (("--text-id", "xyz"), "text id 'xyz'"), (("--text-id", "0" * 32), "no text 00000000-"),
    (("--voter", "nobody"), "no voter 'nobody'"), (("--voter", "judge"), "'judge' is a judge"),
    ((), "one of --text-id"), (("--voter", "ann", "--text-id", "0" * 32), "one of --text-id"),
    (("--voter", "ann", "--reason", " "), "a --reason"),
])
def test_what_cannot_be_erased_is_one_line(
    tiebreak: Tiebreak, store: Store, arguments: tuple[str, ...], seen: str
) -> None:
    with store.write("test") as writer:
        writer.append(world())
    said = tiebreak(store, "redact", "--reason", "r", *arguments)
    assert said.is_one_line_of_yours()
    assert seen in said.err
    assert pending(store.workspace) is None


def test_nothing_is_erased_while_a_round_or_a_training_is_under_way(told: Store) -> None:
    root = told.workspace.root
    for lock in (root / "round-d.lock", root / "orders" / "d-2-0000aaaa" / "trainer.lock"):
        with writer_lock(lock, "round of d"), pytest.raises(RefusedError, match="no round or training under way"):
            redact(root, text_id=text_id(SECRET), voter=None, reason="r")
    living = told.inbox("living")
    living.record({**call("living"), "response": SECRET})
    with pytest.raises(RefusedError, match="that process to end"):
        redact(root, text_id=text_id(SECRET), voter=None, reason="r")
    living.close()
    assert redact(root, text_id=text_id(SECRET), voter=None, reason="r")["still in"] == "none"


def test_files_that_are_the_owners_own_are_named_and_left(told: Store) -> None:
    recipe = told.workspace.recipe
    recipe.write_text(f'dataset = "d"  # {SECRET.splitlines()[0]}\n# {SECRET}\n')
    before = recipe.read_bytes()
    assert redact(told.workspace.root, text_id=text_id(SECRET), voter=None, reason="r")["still in"] == "recipe.toml"
    assert recipe.read_bytes() == before


KILLED = """
import os, signal, sys
from pathlib import Path
import flows.redacting as redacting, warehouse.erasure as erasure, warehouse.erasure_files as files
import warehouse.store as store, warehouse.publish as publish
left = [int(sys.argv[3])]
def dying(true):
    def step(*arguments, **named):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        made = true(*arguments, **named)
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return made
    return step
for home, name in ((redacting, "begin"), (store, "erase_rows"), (store, "rebuild"), (store, "publish"),
                   (redacting, "remove_unindexed"), (files, "_overwrite"), (redacting, "finish"),
                   (erasure, "_bury"), (publish, "replace_text")):
    setattr(home, name, dying(getattr(home, name)))
redacting.redact(Path(sys.argv[1]), text_id=sys.argv[2], voter=None, reason="asked for")
"""


@pytest.mark.parametrize("n", [1, 4, 6, 9, 13])
def test_a_killed_erasure_is_finished_by_the_next_one(told: Store, tmp_path: Path, n: int) -> None:
    root = told.workspace.root
    done = subprocess.run([sys.executable, "-c", KILLED, str(root), text_id(SECRET), str(n)], check=False,
                          capture_output=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert pending(told.workspace) is not None
    with pytest.raises(RefusedError, match="begun and not finished"):
        backup(root, tmp_path / "b.tar.gz")
    with pytest.raises(InputError, match="no voter"):  # whatever is asked, what was begun is finished first
        redact(root, text_id=None, voter="nobody", reason="r")
    assert pending(told.workspace) is None
    assert traces(root, *PARTS[2:]) == []
    assert "done already" in redact(root, text_id=text_id(SECRET), voter=None, reason="again")
    with told.write("test") as writer:
        writer.check()
        assert writer.query("tombstones_of", version=None).height == 1
