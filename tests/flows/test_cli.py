"""The command line as a person uses it: a workspace from nothing, rounds, and looking at what they made."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import pytest
from command_line import Said, Tiebreak, in_process
from small_rounds import WORLD, new_store, run_round, simulated_recipe

from flows import cli
from flows.demo import record_gold
from flows.engines import engines_of
from flows.stages import STAGES
from warehouse.reader import Reader
from warehouse.store import Store

ONE_PAIR = '{"prompt": "p", "response_a": "x", "response_b": "y", "label": "a"}\n'
EASY_GATE = {"min_groups": 2, "min_pairs": 2, "confidence": 0.5}
STAGE_VERBS = ("synthesize", "judge", "score", "route", "send", "collect", "settle", "release", "retrain", "evaluate",
               "promote")


@pytest.fixture
def tiebreak(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tiebreak:
    return in_process(capsys, monkeypatch)


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rounds of a simulated world, the first of which promoted its model."""
    recipe = simulated_recipe(world={**WORLD, "n_gold": 40}, gate=EASY_GATE)
    store, world = new_store(tmp_path_factory.mktemp("cli") / "ws"), engines_of(recipe).world
    assert world is not None
    store.workspace.recipe.write_text(recipe.canonical())
    record_gold(store, world, 40, recipe.criterion)
    for _ in range(2):
        run_round(store, recipe)
    return store.workspace.root


@pytest.fixture(scope="module")
def routed(ws: Path) -> str:
    """Id of a pair that a person was asked about."""
    with Reader(ws) as reader:
        return str(reader.sql("SELECT pair_id::VARCHAR FROM routes ORDER BY ALL").row(0)[0])


@pytest.mark.slow
def test_init_makes_a_workspace_with_a_recipe_once_and_never_overwrites_it(tiebreak: Tiebreak, tmp_path: Path) -> None:
    first = tiebreak(tmp_path / "ws", "init")
    assert (first.code, first.err) == (0, "")
    assert "(made)" in first.out
    (tmp_path / "ws" / "recipe.toml").write_text('dataset = "mine"\n')
    assert "(was there already)" in tiebreak(tmp_path / "ws", "init").out
    (tmp_path / "other.toml").write_text('dataset = "other"\n')
    assert tiebreak(tmp_path / "ws", "init", "--recipe", str(tmp_path / "other.toml")).is_one_line_of_yours()
    assert (tmp_path / "ws" / "recipe.toml").read_text() == 'dataset = "mine"\n'


@pytest.mark.slow
def test_the_recipe_that_init_writes_can_be_run(tiebreak: Tiebreak, tmp_path: Path) -> None:
    tiebreak(tmp_path / "ws", "init")
    said = tiebreak(tmp_path / "ws", "run", "--dry-run")
    assert said.code == 0
    assert said.out.startswith("0 judge calls on the pairs that are there")


def test_the_workspace_may_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TIEBREAK_WORKSPACE", str(tmp_path / "here"))
    monkeypatch.setattr(sys, "argv", ["tiebreak", "init"])
    with pytest.raises(SystemExit):
        cli.main()
    assert (tmp_path / "here" / "workspace.json").is_file()
    assert capsys.readouterr().err == ""


@pytest.mark.service
def test_an_empty_workspace_has_no_rows_and_says_so(tiebreak: Tiebreak, store: Store) -> None:
    for command in ("versions", "judges", "annotators", "models"):
        assert tiebreak(store, command) == Said(0, "(no rows)\n", "")
        assert tiebreak(store, command, "--json").json == []


@pytest.mark.service
def test_ingest_prints_what_was_new_and_json_for_machines(tiebreak: Tiebreak, store: Store, tmp_path: Path) -> None:
    (tmp_path / "s.jsonl").write_text(ONE_PAIR)
    dry = tiebreak(store, "ingest", str(tmp_path / "s.jsonl"), "--dry-run")
    assert (dry.code, dry.err) == (0, "")
    assert "  pairs: 1 read, 0 new" in dry.out.splitlines()
    said = tiebreak(store, "ingest", str(tmp_path / "s.jsonl"))
    assert "  pairs: 1 read, 1 new" in said.out.splitlines()
    assert isinstance(tiebreak(store, "ingest", str(tmp_path / "s.jsonl"), "--json").json, list)


@pytest.mark.service
def test_the_stages_one_by_one_in_their_order_are_a_round(tiebreak: Tiebreak, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(simulated_recipe().canonical())
    root = tmp_path / "ws"
    assert tiebreak(root, "init", "--recipe", str(tmp_path / "r.toml")).code == 0
    early = tiebreak(root, "settle")
    assert early.is_one_line_of_yours()
    assert early.err.endswith("next: tiebreak synthesize\n")
    for verb in STAGE_VERBS:
        said = tiebreak(root, verb)
        assert (said.code, said.err) == (0, ""), verb
    assert "small round 1" not in tiebreak(root, "status").out
    with Reader(root) as reader:
        assert set(reader.sql("SELECT stage FROM round_stages")["stage"]) == set(STAGES)
        assert reader.sql("SELECT state FROM round_summary").rows() == [("closed",)]


@pytest.mark.service
def test_what_a_refused_stage_says_to_do_next_is_a_command(tiebreak: Tiebreak, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(simulated_recipe().canonical())
    tiebreak(tmp_path / "ws", "init", "--recipe", str(tmp_path / "r.toml"))
    done = []
    while (said := tiebreak(tmp_path / "ws", "promote")).code == 2 and len(done) < len(STAGES):
        verb = said.err.strip().rsplit("next: tiebreak ", 1)[1]
        done.append(verb)
        assert tiebreak(tmp_path / "ws", verb).code == 0, f"tiebreak {verb}"
    assert done[0] == "synthesize"
    assert said.code == 0


@pytest.mark.service
def test_a_direct_round_says_every_stage_and_a_stage_done_is_said_to_be_done(
    tiebreak: Tiebreak, tmp_path: Path
) -> None:
    store = new_store(tmp_path / "ws")
    store.workspace.recipe.write_text(simulated_recipe().canonical())
    said = tiebreak(store, "run", "--direct", "--rounds", "2")
    assert (said.code, said.err) == (0, "")
    order = [f"round {n}: {stage}: " for n in (1, 2) for stage in STAGES]
    at = [next(i for i, line in enumerate(said.out.splitlines()) if line.startswith(o)) for o in order]
    assert at == sorted(at)


@pytest.mark.service
@pytest.mark.parametrize(("option", "ends"), [("--resume", "small@1"), ("--abandon", None)])
def test_a_round_open_under_another_recipe_can_be_finished_or_given_up(
    tiebreak: Tiebreak, tmp_path: Path, option: str, ends: str | None
) -> None:
    store = new_store(tmp_path / "ws")
    store.workspace.recipe.write_text(simulated_recipe().canonical())
    assert tiebreak(store, "synthesize").code == 0
    store.workspace.recipe.write_text(simulated_recipe(seed=12).canonical())
    refused = tiebreak(store, "run", "--direct")
    assert refused.is_one_line_of_yours()
    assert f"tiebreak run {option}" in refused.err
    assert tiebreak(store, "run", "--direct", option).code == 0
    facts = tiebreak(store, "status", "--json").json
    assert isinstance(facts, dict)
    assert (facts["open round"], facts["newest version"]) == (None, ends)
    assert tiebreak(store, "run", "--direct").code == 0


@pytest.mark.service
@pytest.mark.parametrize("arguments", [
    ("status",), ("doctor",), ("versions",), ("diff", "small@1", "small@2"), ("diff", "small@1", "small@2", "--pairs"),
    ("verify", "small@1"), ("verify", "small@2", "--recompute"), ("judges",), ("annotators",), ("models",),
    ("sql", "FROM round_summary"), ("sql", "FROM preferences LIMIT 3"), ("sql", "FROM routes"), ("sql", "FROM models"),
    ("sql", "SELECT sum(n_votes), avg(p_a), max(changed_in) FROM newest_labels"), ("sql", "SHOW TABLES"),
])
def test_everything_to_look_at_is_text_for_people_and_json_for_machines(
    tiebreak: Tiebreak, ws: Path, arguments: tuple[str, ...]
) -> None:
    text, machine = tiebreak(ws, *arguments), tiebreak(ws, *arguments, "--json")
    assert (text.code, text.err) == (machine.code, machine.err) == (0, "")
    assert text.out.strip() not in ("", "(no rows)")
    assert machine.json


@pytest.mark.service
def test_status_names_the_newest_version_and_a_free_writer(tiebreak: Tiebreak, ws: Path) -> None:
    facts = tiebreak(ws, "status", "--json").json
    assert isinstance(facts, dict)
    shown = {name: facts[name] for name in ("open round", "newest version", "writer", "inbox", "prefect server")}
    assert shown == {"open round": None, "newest version": "small@2", "writer": "free", "inbox": "empty",
                     "prefect server": "not running"}


@pytest.mark.service
def test_a_tag_names_a_version_until_it_is_moved(tiebreak: Tiebreak, ws: Path) -> None:
    assert tiebreak(ws, "tag", "small@1", "prod").out == "small@prod: small@1\n"
    assert tiebreak(ws, "verify", "small@prod", "--json").json == tiebreak(ws, "verify", "small@1", "--json").json
    assert tiebreak(ws, "diff", "small@prod", "small@1").out.split()[-2:] == ["unchanged", "21"]
    tiebreak(ws, "tag", "small@2", "prod")
    assert tiebreak(ws, "diff", "small@prod", "small@2", "--json").json == [{"change": "unchanged", "n_pairs": 43}]
    assert tiebreak(ws, "tag", "small@2", "not a name").is_one_line_of_yours()
    assert tiebreak(ws, "diff", "small@1", "other@1").is_one_line_of_yours()


@pytest.mark.service
@pytest.mark.parametrize("n", [1, 2])
def test_a_version_is_what_it_was_and_what_its_recipe_makes_of_its_votes(tiebreak: Tiebreak, ws: Path, n: int) -> None:
    facts = tiebreak(ws, "verify", f"small@{n}", "--recompute", "--json").json
    assert isinstance(facts, dict)
    assert (facts["stored"], facts["labels"]) == ("equal", 24 * n)
    assert (facts["recomputed labels that differ"], facts["largest difference in p_a"]) == (0, 0.0)


@pytest.mark.service
def test_a_version_whose_labels_were_changed_behind_its_back_does_not_verify(tiebreak: Tiebreak, store: Store) -> None:
    recipe = simulated_recipe(filtering={"method": "none"})
    run_round(store, recipe)
    import duckdb

    with duckdb.connect(str(store.workspace.database)) as connection:
        connection.execute("UPDATE labels SET p_a = 0.5, p_tie = 0.0")
    said = tiebreak(store, "verify", "small@1")
    assert said.is_one_line_of_yours()
    assert "has fingerprint" in said.err


@pytest.mark.service
def test_the_diff_of_two_versions_lists_the_pairs_it_counts(tiebreak: Tiebreak, ws: Path) -> None:
    counted, listed = (tiebreak(ws, "diff", "small@1", "small@2", *more, "--json").json for more in ((), ("--pairs",)))
    assert isinstance(counted, list)
    assert isinstance(listed, list)
    sizes = {row["change"]: row["n_pairs"] for row in counted}
    assert sizes["added"] == 22
    assert len(listed) == sum(n for change, n in sizes.items() if change != "unchanged")


@pytest.mark.service
@pytest.mark.parametrize("form", ["trl", "parquet"])
def test_an_export_is_a_folder_that_loads_with_a_card(
    tiebreak: Tiebreak, ws: Path, tmp_path: Path, form: str
) -> None:
    said = tiebreak(ws, "export", "small@2", "--format", form, "--out", str(tmp_path / "out"))
    assert (said.code, said.err) == (0, "")
    import datasets

    datasets.disable_progress_bars()
    loaded = datasets.load_dataset("parquet", data_files=str(tmp_path / "out" / "train.parquet"), split="train",
                                   cache_dir=str(tmp_path / "cache"))
    assert loaded.num_rows == (43 if form == "trl" else 48)
    assert (tmp_path / "out" / "card.md").read_text().startswith(f"# small@2 ({form})")
    assert f"rows: {loaded.num_rows}\n" in said.out
    assert tiebreak(ws, "export", "small@2", "--out", str(tmp_path / "out")).is_one_line_of_yours()


@pytest.mark.service
def test_an_unknown_format_is_one_line_and_leaves_no_folder(tiebreak: Tiebreak, ws: Path, tmp_path: Path) -> None:
    said = tiebreak(ws, "export", "small@2", "--format", "xml", "--out", str(tmp_path / "out"))
    assert said.is_one_line_of_yours()
    assert not (tmp_path / "out").exists()


@pytest.mark.service
def test_why_tells_a_pair_s_story_in_the_order_of_the_loop(tiebreak: Tiebreak, ws: Path, routed: str) -> None:
    rows = tiebreak(ws, "why", routed, "--json").json
    assert isinstance(rows, list)
    steps = [(row["round"] or "", row["what"]) for row in rows]
    rounds, loop = [round for round, _ in steps], ["vote", "route", "answer", "vote", "label"]
    assert rounds == sorted(rounds)
    for name in set(rounds) - {""}:
        told = [what for round, what in steps if round == name]
        assert [what for what, _ in itertools.groupby(told)] in (loop, loop[1:], ["label"], ["vote", "label"]), name
    assert {"route", "answer"} <= {what for _, what in steps}
    judges = {row["who"].partition("@")[0] for row in rows if row["what"] == "vote"}
    assert {"simulated/strict", "simulated/hasty"} < judges


@pytest.mark.service
def test_a_route_is_explained_by_everything_it_was_decided_on(tiebreak: Tiebreak, ws: Path, routed: str) -> None:
    said = tiebreak(ws, "route", "--explain", routed)
    assert (said.code, said.err) == (0, "")
    with Reader(ws) as reader:
        rows = reader.sql("SELECT reason, features FROM routes WHERE pair_id::VARCHAR = $p", p=routed)
    reason, features = rows.row(0)
    assert reason in said.out
    assert {name for name in json.loads(features) if name not in said.out} == set()
    assert tiebreak(ws, "route", "--explain", routed, "--json").json


@pytest.mark.service
def test_report_and_card_are_about_the_version_that_was_asked_for(tiebreak: Tiebreak, ws: Path) -> None:
    assert tiebreak(ws, "report").out.startswith("small\n=====\n")
    card = tiebreak(ws, "card", "small@1").out
    assert card.startswith("# small@1")
    with Reader(ws) as reader:
        fingerprint = reader.sql("SELECT fingerprint FROM version_log WHERE version = 'small@1'").item()
    assert f"`{fingerprint}`" in card


@pytest.mark.service
def test_judges_and_annotators_are_listed_apart_with_all_their_votes(tiebreak: Tiebreak, ws: Path) -> None:
    judges, people = (tiebreak(ws, command, "--json").json for command in ("judges", "annotators"))
    assert isinstance(judges, list)
    assert isinstance(people, list)
    assert {row["voter"].partition("@")[0]: row["n_votes"] for row in judges} == {
        "simulated/strict": 96, "simulated/hasty": 96
    }
    assert {row["voter"] for row in people} == {"ada", "ben"}
    assert sum(row["n_votes"] for row in people) == 12


@pytest.mark.service
def test_a_dry_run_says_what_a_round_could_cost_and_opens_none(tiebreak: Tiebreak, ws: Path) -> None:
    said = tiebreak(ws, "run", "--dry-run")
    assert said.code == 0
    assert "6 human votes (1.50 USD)" in said.out
    assert "nothing was done" in said.out
    with Reader(ws) as reader:
        assert reader.sql("SELECT count(*) FROM rounds").item() == 2


@pytest.mark.service
def test_data_with_control_characters_cannot_draw_on_the_terminal(tiebreak: Tiebreak, store: Store) -> None:
    said = tiebreak(store, "sql", "SELECT 'line one' || chr(10) || chr(27) || '[2J' || chr(8238) AS t")
    assert said.out.splitlines()[-1] == r"line one\n\x1b[2J\u202e"
    machine = tiebreak(store, "sql", "SELECT 'line one' || chr(10) || chr(27) AS t", "--json")
    assert machine.json == [{"t": "line one\n\x1b"}]
