"""Commands that operate: demo, reports, exports, deployments, servers, retraining, and the workspace's keep."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done and do nothing.")]
RecipePath = Annotated[Path | None, typer.Option("--recipe", help="Recipe; default: the workspace's.")]
Root = Callable[[], Path]


def register(app: typer.Typer, root: Root) -> None:
    """Add these commands to `app`; `root` tells the workspace once options are read."""
    for add in (_looking, _taking_away, _prefect, _training, _keeping):
        add(app, root)


def _looking(app: typer.Typer, root: Root) -> None:
    @app.command()
    def demo(
        data: Annotated[list[Path] | None, typer.Option(help="Folder of recorded votes; may be repeated.")] = None,
        world: Annotated[
            Literal["corpus", "simulated"], typer.Option(help="What is labelled when no data is named.")
        ] = "corpus",
        rounds: Annotated[int, typer.Option(min=1, help="Rounds to run.")] = 3,
    ) -> None:
        """Run rounds on the corpus that is shipped, a simulated world, or recorded votes; print what came of them."""
        from flows import demo as demonstration

        demonstration.run(root(), data or [], rounds, typer.echo, world=world)

    @app.command()
    def report(
        version: Annotated[str | None, typer.Argument(help="DATASET@N; default: all.")] = None,
        html: Annotated[Path | None, typer.Option(help="Write one self-contained page there instead.")] = None,
        compare: Annotated[
            tuple[str, str] | None, typer.Option(help="Two versions of a dataset: what changed, with pairs.")
        ] = None,
        as_json: Json = False,
    ) -> None:
        """Funnel, spending, voters, models and gate decisions, as plain text or as a page with pictures."""
        from flows import pages, reporting

        if html is not None:
            printed(pages.write(root(), html, version, compare), as_json)
        elif compare is not None:
            typer.echo(reporting.compare(root(), *compare))
        else:
            typer.echo(reporting.report(root(), version))


def _taking_away(app: typer.Typer, root: Root) -> None:
    @app.command()
    def export(
        version: str,
        out: Annotated[Path, typer.Option(help="New or empty folder.")],
        form: Annotated[str, typer.Option("--format", help="trl, openrlhf, hf, kto or parquet.")] = "trl",
        since: Annotated[str | None, typer.Option(help="Only pairs added or changed since this version.")] = None,
    ) -> None:
        """Write a version for a trainer, with a card."""
        from flows import commands

        printed(commands.export(root(), version, out, form, since), False)


def _prefect(app: typer.Typer, root: Root) -> None:
    @app.command()
    def deploy(recipe: RecipePath = None, is_dry_run: DryRun = False, as_json: Json = False) -> None:
        """Make Prefect deployments of round, collect, retrain and train, on the schedules of the settings."""
        from flows import deploying

        printed(deploying.deploy(root(), recipe, is_dry_run=is_dry_run), as_json)

    @app.command()
    def serve(
        stop: Annotated[bool, typer.Option("--stop", help="Stop worker and server.")] = False,
        pool: Annotated[
            str | None, typer.Option(help="Be a worker of this pool, here, until Ctrl-C: `gpu` on a GPU machine.")
        ] = None,
    ) -> None:
        """Start the workspace's Prefect server and its worker, or stop them."""
        from flows import serving

        if pool is not None:
            serving.work(root(), pool, say=typer.echo)
        else:
            printed(serving.serve(root(), stop), False)


def _training(app: typer.Typer, root: Root) -> None:
    @app.command()
    def retrain(
        recipe: RecipePath = None,
        is_dry_run: Annotated[bool, typer.Option("--dry-run", help="List what is due, trained or left.")] = False,
        as_json: Json = False,
    ) -> None:
        """Train a candidate on the newest version: in the open round, or every language model that is due."""
        from flows import retraining

        if is_dry_run:
            rows = retraining.due(root(), recipe)
            printed(rows if rows or as_json else {"due": "nothing"}, as_json)
        else:
            retraining.retrain(root(), recipe, say=typer.echo)

    @app.command(name="serve-rm")
    def serve_rm(
        model: Annotated[str | None, typer.Argument(help="Model; default: the promoted one.")] = None,
        port: Annotated[int, typer.Option(help="On 127.0.0.1; 0: a free one.")] = 0,
        dataset: Annotated[str | None, typer.Option(help="Dataset, where the workspace holds several.")] = None,
    ) -> None:
        """Serve a trained language model by vLLM until Ctrl-C; rounds of this workspace find it."""
        from flows import serving_rewards

        serving_rewards.serve(root(), model, dataset, port, say=typer.echo)


def _keeping(app: typer.Typer, root: Root) -> None:
    @app.command()
    def backup(out: Annotated[Path, typer.Option(help="New file.")], as_json: Json = False) -> None:
        """Copy a workspace into one file, while nothing writes."""
        from flows import keeping

        printed(keeping.backup(root(), out), as_json)

    @app.command()
    def restore(file: Path, as_json: Json = False) -> None:
        """Bring a backup back into a new workspace, and check it."""
        from flows import keeping

        printed(keeping.restore(root(), file), as_json)

    @app.command()
    def gc(is_dry_run: DryRun = False, as_json: Json = False) -> None:
        """Remove what nothing refers to any more: old exports, orders, published files."""
        from flows import keeping

        printed(keeping.collect_garbage(root(), is_dry_run=is_dry_run), as_json)

    @app.command()
    def redact(
        reason: Annotated[str, typer.Option(help="Why, for the tombstone.")],
        text_id: Annotated[str | None, typer.Option(help="Text to erase.")] = None,
        voter: Annotated[str | None, typer.Option(help="Voter whose words and name to erase.")] = None,
        as_json: Json = False,
    ) -> None:
        """Erase a text or a voter for good; versions that held it say so."""
        from flows import keeping

        printed(keeping.redact(root(), text_id=text_id, voter=voter, reason=reason), as_json)


def printed(rows: object, as_json: bool) -> None:
    """Rows on standard output, for people or for machines."""
    from flows.printing import render

    typer.echo(render(rows, as_json=as_json))
