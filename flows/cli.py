"""The command line: one command, one verb per flow. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from flows.cli_operation import DryRun, Json, printed, register
from schemas.errors import TiebreakError

app = typer.Typer(
    name="tiebreak",
    help="Turn prompts into versioned preference datasets and better reward models, round after round.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class _State:
    root: Path = Path(".tiebreak")


@app.callback()
def workspace_option(
    workspace: Annotated[
        Path | None, typer.Option("--workspace", help="Workspace folder (TIEBREAK_WORKSPACE; default ./.tiebreak).")
    ] = None,
) -> None:
    """Options of every command."""
    _State.root = workspace or Path(os.environ.get("TIEBREAK_WORKSPACE", ".tiebreak"))


@app.command()
def init(
    recipe: Annotated[Path | None, typer.Option(help="Recipe to copy into the workspace.")] = None,
    as_json: Json = False,
) -> None:
    """Make a workspace, with a recipe to edit."""
    from flows import commands

    printed(commands.init(_State.root, recipe), as_json)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check versions, workspace, lock, disk and server; say what mends each fault."""
    from flows import commands

    report = commands.doctor(_State.root)
    shown = report if as_json else [{k: v for k, v in row.items() if k != "mend"} for row in report]
    printed(shown, as_json)
    for row in report if not as_json else []:
        if row["mend"]:
            typer.echo(f"{row['check']}: next: {row['mend']}")
    if any(row["state"] == "fault" for row in report):
        raise typer.Exit(2)


@app.command()
def status(as_json: Json = False) -> None:
    """Where the workspace stands: open round, versions, inbox, lock, server, how far readers lag."""
    from flows import commands

    printed(commands.status(_State.root), as_json)


@app.command()
def ingest(
    source: Annotated[str, typer.Argument(help="A file, a folder, or hf:org/name[:split].")],
    name: Annotated[str | None, typer.Option(help="Name of the source; default: the file's or folder's.")] = None,
    group_by: Annotated[str | None, typer.Option(help="Column that no split may cut through.")] = None,
    for_replay: Annotated[
        bool, typer.Option("--for-replay", help="Keep human votes for the replay annotator to sell.")
    ] = False,
    is_dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Take in prompts, responses, pairs and votes; what is there already is not taken twice."""
    from flows import commands

    printed(commands.ingest(_State.root, source, name, group_by, for_replay, is_dry_run), as_json)


@app.command()
def run(
    recipe: Annotated[Path | None, typer.Argument(help="Recipe; default: the workspace's.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds to run, one after the other.")] = 1,
    direct: Annotated[bool, typer.Option("--direct", help="Without a Prefect server, in this process.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Finish the open round with its own recipe.")] = False,
    abandon: Annotated[bool, typer.Option("--abandon", help="Close the open round as it is; nothing is run.")] = False,
    is_dry_run: DryRun = False,
) -> None:
    """Run one round; an open one is finished first. Safe to run again after any interruption."""
    from flows import commands

    if abandon:
        printed(commands.abandon(_State.root, recipe), False)
        return
    commands.run(_State.root, recipe, rounds, is_direct=direct, is_dry_run=is_dry_run, is_resume=resume, say=typer.echo)


def _stage_command(verb: str, stage: str, doc: str) -> None:
    def command(
        recipe: Annotated[Path | None, typer.Option(help="Recipe; default: the workspace's.")] = None,
    ) -> None:
        from flows import commands

        commands.run_stage(_State.root, recipe, stage, say=typer.echo)

    app.command(name=verb, help=doc)(command)


for _verb, _stage, _doc in (
    ("score", "score", "Let the promoted reward model vote, for the open round."),
    ("settle", "settle", "From votes to labels: consensus, then filter."),
    ("release", "release", "Release a version if the labels changed."),
    ("evaluate", "evaluate", "Measure candidate, incumbent and baselines on gate gold."),
    ("promote", "gate", "Let the gate decide; closes the round."),
):
    _stage_command(_verb, _stage, _doc)


@app.command()
def send(recipe: Annotated[Path | None, typer.Option(help="Recipe; default: the workspace's.")] = None) -> None:
    """Send routes that have no task yet to people."""
    from flows import annotating

    annotating.send(_State.root, recipe, say=typer.echo)


@app.command()
def collect(
    recipe: Annotated[Path | None, typer.Option(help="Recipe; default: the workspace's.")] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Read everything again, and put right what the platform lost.")
    ] = False,
    listen: Annotated[
        int | None, typer.Option("--listen", help="Port on 127.0.0.1: collect after every webhook, until Ctrl-C.")
    ] = None,
) -> None:
    """Take in what people answered, and send the next steps of what they contradicted. Safe to run on a schedule."""
    from flows import annotating

    if full and listen is not None:
        raise typer.BadParameter("--full reads once, --listen goes on: give one of them")
    if listen is None:
        annotating.collect(_State.root, recipe, is_full=full, say=typer.echo)
    else:
        annotating.listen(_State.root, recipe, listen, say=typer.echo)


@app.command()
def recall(
    recipe: Annotated[Path | None, typer.Option(help="Recipe; default: the workspace's.")] = None, as_json: Json = False
) -> None:
    """Take back tasks that nobody needs to answer any more."""
    from flows import annotating

    printed(annotating.recall(_State.root, recipe, say=typer.echo), as_json)


def _asking_command(verb: str, doc: str) -> None:
    def command(
        recipe: Annotated[Path | None, typer.Option(help="Recipe; default: the workspace's.")] = None,
        is_dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be asked, and its cost.")] = False,
        as_json: Json = False,
    ) -> None:
        from flows import commands

        if is_dry_run:
            printed(commands.estimate(_State.root, recipe, verb), as_json)
        else:
            commands.run_stage(_State.root, recipe, verb, say=typer.echo)

    app.command(name=verb, help=doc)(command)


_asking_command("synthesize", "Sample responses and pair them, for the open round.")
_asking_command("judge", "Let the judges vote, both orders, for the open round.")


@app.command()
def route(
    recipe: Annotated[Path | None, typer.Option(help="Recipe; default: the workspace's.")] = None,
    explain: Annotated[str | None, typer.Option(help="Pair id: say why it was routed, or was not.")] = None,
    as_json: Json = False,
) -> None:
    """Decide which pairs people are asked about, under the recipe's budget."""
    from flows import commands

    if explain:
        printed(commands.explain_route(_State.root, explain), as_json)
    else:
        commands.run_stage(_State.root, recipe, "route", say=typer.echo)


@app.command()
def versions(as_json: Json = False) -> None:
    """Versions, oldest first, with size and fingerprint."""
    from flows import commands

    printed(commands.view(_State.root, "version_log"), as_json)


@app.command()
def tag(version: str, name: str) -> None:
    """Move a tag to a version: `tiebreak tag helpful@7 prod`."""
    from flows import commands

    printed(commands.tag(_State.root, version, name), False)


@app.command()
def diff(
    a: str, b: str, pairs: Annotated[bool, typer.Option(help="List the pairs.")] = False, as_json: Json = False
) -> None:
    """What changed between two versions of a dataset: added, removed, flipped, strength changed."""
    from flows import commands

    printed(commands.diff(_State.root, a, b, pairs), as_json)


@app.command()
def cycles(version: str, as_json: Json = False) -> None:
    """Cycles of wins (a over b, b over c, c over a) in a version, and the pair that is the weakest of each."""
    from flows import ranking

    printed(ranking.cycles(_State.root, version), as_json)


@app.command()
def verify(
    version: str,
    recompute: Annotated[bool, typer.Option("--recompute", help="Settle again from the votes and compare.")] = False,
    as_json: Json = False,
) -> None:
    """Recompute a version's fingerprint from what is stored; exit 2 when it differs."""
    from flows import commands

    printed(commands.verify(_State.root, version, recompute), as_json)


@app.command()
def sql(query: Annotated[str, typer.Argument(help="SQL over the published views.")], as_json: Json = False) -> None:
    """Ask SQL of everything published, also while a round runs."""
    from flows import commands

    printed(commands.sql(_State.root, query), as_json)


@app.command()
def card(version: str) -> None:
    """The data card of a version."""
    from flows import commands

    typer.echo(commands.card(_State.root, version))


@app.command()
def why(pair: str, as_json: Json = False) -> None:
    """Everything known about one pair: votes, routes, labels, version by version."""
    from flows import commands

    printed(commands.why(_State.root, pair), as_json)


@app.command()
def judges(
    verifiers: Annotated[bool, typer.Option("--verifiers", help="List the verifiers that a recipe can name.")] = False,
    as_json: Json = False,
) -> None:
    """Each judge's card: votes, abstentions, flip and first-slot rates, its newest examination, its calibration."""
    from flows import commands

    printed(commands.verifiers() if verifiers else commands.voters(_State.root, "judge"), as_json)


@app.command()
def annotators(
    feedback: Annotated[Path | None, typer.Option(help="Write a page for each annotator into this folder.")] = None,
    pay: Annotated[bool, typer.Option("--pay", help="Votes, hours and money per annotator and round.")] = False,
    agreement: Annotated[bool, typer.Option("--agreement", help="Krippendorff's alpha of people.")] = False,
    as_json: Json = False,
) -> None:
    """People: votes, skill, gold tasks, position preference, speed, anchoring, drift, and what stands out."""
    from flows import annotators as people

    if feedback:
        printed(people.feedback(_State.root, feedback), as_json)
    elif pay:
        printed(people.pay_report(_State.root), as_json)
    elif agreement:
        printed(people.agreement_report(_State.root), as_json)
    else:
        printed(people.annotators(_State.root, is_whole=as_json), as_json)


@app.command()
def models(as_json: Json = False) -> None:
    """Reward models and how they measured on gate gold."""
    from flows import commands

    printed(commands.models(_State.root), as_json)


register(app, lambda: _State.root)


def main() -> None:
    """Entry point. Exit 0 done, 1 our fault (traceback), 2 yours (one line)."""
    try:
        app()
    except TiebreakError as error:
        if error.exit_code != 2:
            raise
        # One line of printable text, whatever names, queries and files the message quotes.
        line = "".join(c if c.isprintable() else " " for c in str(error))
        typer.echo(f"tiebreak: {' '.join(line.split())}", err=True)
        _let_go(error)
        sys.exit(2)


def _let_go(error: BaseException | None) -> None:
    """Clear the frames of an error that is told: Prefect keeps it until the process ends, and with it DuckDB,
    which then complains of 28 leaked objects below our one line.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error.__traceback__, error = None, error.__cause__ or error.__context__


if __name__ == "__main__":
    main()
