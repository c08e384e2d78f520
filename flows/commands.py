"""What each command does, as plain functions that return rows; `cli.py` prints them.

What reads and what runs are apart in their imports: a question is answered without loading 1.5 s of engines.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import polars as pl

from flows.calling import thread_fan_out
from flows.doctor import examine
from flows.rounds import (
    Say,
    Turn,
    abandon_round,
    finished_stages,
    next_round,
    now,
    open_recipe,
    open_round,
    run_stages,
)
from flows.server import running_server, running_worker
from flows.settings import meter_path, n_workers, serving_settings
from schemas.errors import InputError, LockHeldError, RecipeError, RefusedError, UserError
from schemas.recipe import Recipe, parse_recipe
from schemas.tables import VERSION_TAGS
from warehouse.inbox import has_waiting
from warehouse.lock import holder, writer_lock
from warehouse.publish import read_manifest
from warehouse.reader import Reader
from warehouse.store import Store
from warehouse.versions import parse_version
from warehouse.workspace import Workspace, replace_text

Facts = dict[str, object]

# Stages that people do not ask for by name: they run with the next one that they do.
WITHOUT_COMMAND = ("mark_gold", "export")

FIRST_RECIPE = """\
# Decides the rows of every version. Fields: docs/recipe.md; whole examples: examples/.
dataset = "preferences"
seed = 0

[people]
engine = "replay"          # sells votes ingested with --for-replay; "none" asks nobody

[routing]
method = "value"
budget_votes = 100         # per round

[gold]
gate_share = 0.3           # of groups, held out for the gate
"""


def init(root: Path, recipe: Path | None) -> Facts:
    """Make the workspace; the recipe is copied once and never overwritten."""
    workspace = Workspace(root)
    is_new = workspace.create()
    if recipe is not None or not workspace.recipe.is_file():
        text = _read_text(recipe) if recipe else FIRST_RECIPE
        parse_recipe(text, origin=str(recipe or "recipe"))
        if workspace.recipe.is_file():
            raise RefusedError(f"{workspace.recipe} exists", expected="no recipe yet", next="edit that file")
        replace_text(workspace.recipe, text)
    state = "made" if is_new else "was there already"
    return {"workspace": f"{root} ({state})", "recipe": str(workspace.recipe), "next": "tiebreak ingest SOURCE"}


def doctor(root: Path) -> list[Facts]:
    """One row per check: what, state (ok, note, fault), seen, and the command that mends it."""
    return examine(root)


def status(root: Path) -> Facts:
    """Where the workspace stands."""
    workspace = Workspace(root).require()
    server, worker, manifest = running_server(workspace), running_worker(workspace), read_manifest(workspace)
    with Reader(root) as reader:
        rounds = reader.sql("SELECT dataset, n, state FROM round_summary ORDER BY dataset, n DESC")
        newest = reader.sql("SELECT version FROM version_log ORDER BY released_at DESC LIMIT 1")
    open_rounds = [f"{d} round {n}" for d, n, state in rounds.iter_rows() if state == "open"]
    return {
        "workspace": str(root), "open round": ", ".join(open_rounds) or None,
        "newest version": newest["version"][0] if newest.height else None,
        "votes published": manifest["last_seq"], "writer": holder(workspace.lock) or "free",
        "inbox": "holds work for the next writer" if has_waiting(workspace.inbox) else "empty",
        "readers see the state of": _when(manifest["published_at"]),
        "prefect server": server.api_url if server else "not running",
        "worker": f"pid {worker.pid}, pool {worker.pool}" if worker else "not running",
    }


def ingest(
    root: Path, source: str, name: str | None, group_by: str | None, for_replay: bool, is_dry_run: bool
) -> object:
    """Ingest a source; lines of what was read, new, merged, refused."""
    from flows.ingest import ingest as ingest_source

    report = ingest_source(
        Store(root), source, name=name, is_recorded=for_replay, group_by=group_by, is_dry_run=is_dry_run
    )
    return report.lines()


def run(
    root: Path, recipe: Path | None, rounds: int, *, is_direct: bool, is_dry_run: bool, is_resume: bool, say: Say
) -> None:
    """Run rounds; an open round is finished first and counts as one, with `is_resume` under its own recipe."""
    from flows.engines import engines_of

    store, parsed = Store(root), load_recipe(root, recipe)
    if is_resume:
        parsed = open_recipe(store, parsed.dataset) or parsed
    if is_dry_run:
        say(_dry_run(root, parsed, recipe))
        return
    engines = engines_of(parsed, meter_path(), serving_settings(store.workspace))
    with only_runner(store, parsed.dataset):
        for _ in range(rounds):
            turn = open_round(store, engines, parsed, thread_fan_out(n_workers()), say)
            with closing(turn.engines), _published(store):
                run_turn(turn, is_direct=is_direct, say=say)


@contextmanager
def _published(store: Store) -> Iterator[None]:
    """Whoever looks after a stage was stopped sees what it recorded: answers, their cost, examinations."""
    try:
        yield
    except LockHeldError:
        raise
    except UserError:
        with store.write("publish") as writer:
            writer.publish()
        raise


def abandon(root: Path, recipe: Path | None) -> Facts:
    """Close the open round of the recipe's dataset as it is."""
    store, dataset = Store(root), load_recipe(root, recipe).dataset
    with only_runner(store, dataset):
        n = abandon_round(store, dataset)
    return {dataset: f"round {n} is closed; what was paid for stays known" if n else "no round is open"}


def only_runner(store: Store, dataset: str) -> AbstractContextManager[None]:
    """Hold the dataset's round: two processes in one round would ask and route twice. Other datasets go on."""
    workspace = store.workspace.require()
    return writer_lock(workspace.root / f"round-{dataset}.lock", f"round of {dataset}")


def run_turn(turn: Turn, *, is_direct: bool, say: Say) -> None:
    """Take an open round to its end, in this process or as a Prefect flow."""
    from flows.stages import STAGES

    if is_direct:
        run_stages(turn, list(STAGES.items()))
        return
    from flows.round import run_in_prefect

    say(f"round {turn.n} of {turn.recipe.dataset} is done; Prefect: {run_in_prefect(turn, say)}")


def run_stage(root: Path, recipe: Path | None, stage: str, *, say: Say) -> None:
    """One stage of the open round (a new one is opened when none is). Raises RefusedError before its turn."""
    from flows.engines import engines_of

    parsed = load_recipe(root, recipe)
    store = Store(root)
    with only_runner(store, parsed.dataset):
        engines = engines_of(parsed, meter_path(), serving_settings(store.workspace))
        # Looked at before a round is opened: a command out of turn leaves none behind.
        _refuse_out_of_turn(next_round(store, engines, parsed, thread_fan_out(1), say), stage)
        turn = open_round(store, engines, parsed, thread_fan_out(n_workers()), say)
        with closing(turn.engines), _published(store):
            _run_next(turn, stage, say)


def _refuse_out_of_turn(turn: Turn, stage: str) -> None:
    """Raises RefusedError when stages before this one, which have commands of their own, were not run."""
    from flows.stages import STAGES

    done, order = finished_stages(turn), list(STAGES)
    missing = [name for name in order[: order.index(stage)] if name not in done and name not in WITHOUT_COMMAND]
    if missing:
        raise RefusedError(
            f"round {turn.n} has not been through {missing[0]}", expected=f"the stages before {stage} to be done",
            next=f"tiebreak {missing[0]}",
        )


def _run_next(turn: Turn, stage: str, say: Say) -> None:
    from flows.stages import STAGES

    done, order = finished_stages(turn), list(STAGES)
    wanted = [name for name in order[: order.index(stage) + 1] if name not in done]
    run_stages(turn, [(name, STAGES[name]) for name in wanted])
    if not wanted:
        say(f"round {turn.n}: {stage} is done already")


def view(root: Path, name: str) -> pl.DataFrame:
    """Rows of a public view."""

    with Reader(root) as reader:
        return reader.sql(f"FROM {name}")


def sql(root: Path, query: str) -> pl.DataFrame:
    """Rows of a query over what is published."""
    with Reader(root) as reader:
        return reader.sql(query)


def tag(root: Path, version: str, name: str) -> Facts:
    """Move a tag to a version."""
    dataset, n = resolve(root, version)
    if not name.isidentifier():
        raise InputError(f"tag {name!r}", expected="a name of letters, digits and _", next="choose another")
    row = pl.DataFrame([{"dataset": dataset, "tag": name, "n": n, "moved_at": now()}])
    with Store(root).write("tag") as writer:
        writer.append({"version_tags": VERSION_TAGS.complete(row)})
        writer.publish()
    return {f"{dataset}@{name}": f"{dataset}@{n}"}


def diff(root: Path, a: str, b: str, is_listed: bool) -> pl.DataFrame:
    """Changes from version a to version b of one dataset, counted or listed."""
    (dataset, n_a), (other, n_b) = resolve(root, a), resolve(root, b)
    if dataset != other:
        raise InputError(f"{a} and {b}", expected="two versions of one dataset", next="tiebreak versions")
    with Reader(root) as reader:
        changes = reader.query("version_diff", dataset=dataset, n_a=n_a, n_b=n_b)
    if is_listed:
        return changes.filter(pl.col("change") != "unchanged")
    return changes.group_by("change").len("n_pairs").sort("change")


def verify(root: Path, version: str, is_recomputed: bool) -> Facts:
    """Recompute a version's fingerprint; raises RefusedError when it differs."""
    from flows.verifying import verify_version

    dataset, n = resolve(root, version)
    return verify_version(root, dataset, n, is_recomputed=is_recomputed)


def export(root: Path, version: str, out: Path, form: str, since: str | None = None) -> Facts:
    """Write a version, or what changed since an earlier one, into a folder."""
    from flows.exporting import export_version

    dataset, n = resolve(root, version)
    if since is None:
        return export_version(root, dataset, n, out, form)
    other, earlier = resolve(root, since)
    if other != dataset:
        raise InputError(f"--since {since}", expected=f"a version of {dataset}", next="tiebreak versions")
    return export_version(root, dataset, n, out, form, earlier)


def card(root: Path, version: str) -> str:
    """Data card of a version."""
    from flows.export_cards import card as card_text
    from flows.exporting import ground_of

    dataset, n = resolve(root, version)
    with Reader(root) as reader:
        members, ground = reader.query("version_members", dataset=dataset, n=n), ground_of(reader, dataset, n)
        row = reader.query("versions_of", dataset=dataset).filter(pl.col("n") == n).row(0, named=True)
    return card_text(members, row, "parquet", members, ground)


def why(root: Path, pair: str) -> pl.DataFrame:
    """What happened to one pair, in the order of the loop."""
    with Reader(root) as reader:
        rows = reader.query("why", pair_id=_pair_id(pair))
    if rows.height == 0:
        raise InputError(f"no pair {pair}", expected="a pair id", next="tiebreak sql 'SELECT pair_id FROM pairs'")
    return rows


def explain_route(root: Path, pair: str) -> list[Facts]:
    """Routes of one pair, fact by fact: the decision, its reason, then everything it was decided on."""
    with Reader(root) as reader:
        rows = reader.query("explain_route", pair_id=_pair_id(pair))
    if rows.height == 0:
        raise InputError(f"pair {pair} was never routed", expected="a routed pair", next=f"tiebreak why {pair}")
    return [fact for row in rows.iter_rows(named=True) for fact in _facts_of_route(row)]


def _facts_of_route(row: Facts) -> list[Facts]:
    """(round, fact, value) of one route; values as text, because a table has one type a column."""
    decided = {name: row[name] for name in row if name not in ("dataset", "round", "features")}
    known = {f"known: {name}": value for name, value in json.loads(str(row["features"])).items()}
    where = f"{row['dataset']} round {row['round']}"
    return [{"round": where, "fact": name, "value": str(value)} for name, value in {**decided, **known}.items()]


def voters(root: Path, kind: str) -> pl.DataFrame:
    """Voters of one kind with their votes and newest fit."""
    with Reader(root) as reader:
        cards = reader.query("voter_cards", kind=kind)
    examined = cards.columns[cards.columns.index("calibration_temperature"):]
    return cards if kind == "judge" else cards.drop(examined)  # people are not examined


def verifiers() -> list[Facts]:
    """Verifiers that a recipe can name, our own and those of installed packages."""
    from curate.verifying.plugins import described

    return [{"verifier": name, "what": what} for name, what in described().items()]


def models(root: Path) -> pl.DataFrame:
    """Reward models and their accuracy on gate gold."""
    with Reader(root) as reader:
        return reader.query("model_accuracy")


def load_recipe(root: Path, recipe: Path | None) -> Recipe:
    """The named recipe, else the workspace's."""
    path = recipe or Workspace(root).require().recipe
    return parse_recipe(_read_text(path), origin=str(path))


def resolve(root: Path, version: str) -> tuple[str, int]:
    """(dataset, n) of `helpful@7` or `helpful@prod`. Raises InputError for an unknown one."""
    dataset, _, name = version.partition("@")
    with Reader(root) as reader:
        tagged = reader.query("tagged_version", dataset=dataset, tag=name)
        asked = (dataset, int(tagged["n"][0])) if tagged.height else parse_version(version)
        known = reader.query("versions_of", dataset=asked[0])["n"].to_list()
    if asked[1] not in known:
        raise InputError(f"no version {version}", expected=f"one of {known or 'none yet'}", next="tiebreak versions")
    return asked


def estimate(root: Path, recipe: Path | None, stage: str) -> list[Facts]:
    """Calls, tokens and money that a stage which asks would need now, and what is not counted; nobody is asked."""
    from flows.engines import engines_of
    from flows.estimating import judging_estimate, not_estimated, sampling_estimate

    store, parsed = Store(root), load_recipe(root, recipe)
    engines = engines_of(parsed, None, serving_settings(store.workspace))
    turn = next_round(store, engines, parsed, thread_fan_out(1), lambda line: None)
    with closing(turn.engines):
        rows = judging_estimate(turn) if stage == "judge" else sampling_estimate(turn)
        return [{**row, "not counted": ", ".join(not_estimated(turn)) or None} for row in rows]


def _dry_run(root: Path, recipe: Recipe, path: Path | None) -> str:
    """Size of the to-do: the calls that judging would make, and the most that people would cost."""
    from flows.printing import table

    judges = estimate(root, path, "judge")
    people = recipe.routing.budget_votes * recipe.people.cost_usd
    calls, usd = (sum(float(str(row[name])) for row in judges) for name in ("to make", "usd"))
    shown = f"{table(pl.DataFrame(judges))}\n" if judges else ""
    return (
        f"{shown}{int(calls):,} judge calls on the pairs that are there ({usd:,.2f} USD), at most "
        f"{recipe.routing.budget_votes:,} human votes ({people:,.2f} USD); nothing was done"
    )


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: {error}", expected="a readable TOML file", next="check the path") from error


def _pair_id(pair: str) -> str:
    if len(pair) != 36 or pair.count("-") != 4 or not set(pair) <= set("0123456789abcdef-"):
        raise InputError(f"pair id {pair!r}", expected="36 characters like those of `tiebreak sql 'FROM pairs'`")
    return pair


def _when(seconds: float) -> str:
    return f"{(now().timestamp() - seconds):.0f} s ago" if seconds else "nothing: never published"

