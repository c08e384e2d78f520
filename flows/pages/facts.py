"""What a report says about one dataset, asked of the published files when first looked at.

The text report and the page read the same facts, so they cannot disagree. Sums are made by SQL: of a version of any
size only groups, bins and a bounded number of rows come here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import polars as pl

from curate.consensus.folding import fold_orders
from curate.routing.audit import AuditEstimate, audit_estimate, audits, second_opinions
from curate.routing.ledger import ledger
from curate.routing.skill import human_skill
from schemas.recipe import Recipe, parse_recipe
from schemas.tables import ROUTES, VOTES
from warehouse.reader import Reader

FEWEST_AUDITS = 10
LEDGER_ROUNDS = 10
"""newest versions whose routes are looked at"""
Row = dict[str, object]


@dataclass(frozen=True)
class Audit:
    """The random audit: an estimate, or in words why there is none."""

    n_votes: int
    found: AuditEstimate | None
    why_not: str = ""


class DatasetFacts:
    """Facts of one dataset; what is about labels is about one version of it: number `n`, by default the newest."""

    def __init__(self, reader: Reader, dataset: str, n: int | None = None) -> None:
        self.reader, self.dataset = reader, dataset
        self._log = reader.query("versions_of", dataset=dataset)
        chosen = self._log.filter(pl.col("n") == n) if n is not None else self._log.tail(1)
        self.version: Row | None = chosen.row(0, named=True) if chosen.height else None

    @property
    def n(self) -> int:
        """Number of the version; 0 before the first."""
        return int(str(self.version["n"])) if self.version else 0

    @property
    def name(self) -> str:
        """`helpful@7`, or the dataset before its first version."""
        return f"{self.dataset}@{self.n}" if self.version else self.dataset

    @property
    def is_newest(self) -> bool:
        """Whether no later version is there."""
        return self._log.is_empty() or self.n == self._log["n"].max()

    @property
    def parent(self) -> int | None:
        """Number of the version that this one follows."""
        found = self.version["parent_n"] if self.version else None
        return None if found is None else int(str(found))

    def as_of(self, n: int) -> int:
        """Number of the last vote that version `n` has read."""
        return int(self._log.filter(pl.col("n") == n)["as_of"].item())

    def recipe_of(self, n: int) -> str:
        """Recipe of version `n`, as JSON."""
        return str(self._log.filter(pl.col("n") == n)["recipe"].item())

    @cached_property
    def recipe(self) -> Recipe:
        """Recipe of the version; before the first, of the newest round."""
        if self.version:
            return parse_recipe(str(self.version["recipe"]), origin=self.name)
        return parse_recipe(str(self.newest_round["recipe"]), origin=self.name)

    @cached_property
    def newest_round(self) -> Row:
        """n, recipe, opened_at, is_open, stages (those that are done, comma between)."""
        return self.reader.query("report_newest_round", dataset=self.dataset).row(0, named=True)

    @cached_property
    def _version(self) -> dict[str, object]:
        return {"dataset": self.dataset, "n": self.n}

    @cached_property
    def _votes(self) -> dict[str, object]:
        """The version and the votes it has read."""
        return {**self._version, "as_of": self.as_of(self.n) if self.version else 0}

    @cached_property
    def versions(self) -> pl.DataFrame:
        """version, pairs, votes, fingerprint."""
        return self.reader.query("report_versions", dataset=self.dataset)

    @cached_property
    def log(self) -> pl.DataFrame:
        """Every version with its parent, recipe and commit, oldest first."""
        return self._log

    @cached_property
    def rounds(self) -> pl.DataFrame:
        """round, state, budget, asked, audit, bought, human_usd, calls, call_usd, version."""
        return self.reader.query("report_rounds", dataset=self.dataset)

    @property
    def last_round(self) -> int:
        """Number of the round that released the version; of the newest one before the first version."""
        released = self.rounds.filter(pl.col("version") == self.n)["round"]
        return int(released[-1] if released.len() else self.rounds["round"].max())  # type: ignore[arg-type]

    @cached_property
    def money(self) -> pl.DataFrame:
        """round, what (people, or a kind of call), n, n_failed, cost_usd."""
        return self.reader.query("report_money", dataset=self.dataset)

    @cached_property
    def sizes(self) -> dict[str, int]:
        """How many prompts, responses and pairs there are, up to those that the version keeps."""
        found = self.reader.query("report_sizes", **self._votes, sources=list(self.recipe.sources))
        return {name: int(n) for name, n in found.row(0, named=True).items()}

    @cached_property
    def funnel(self) -> pl.DataFrame:
        """action, reason, pairs."""
        return self.reader.query("report_funnel", **self._version)

    @cached_property
    def refusals(self) -> pl.DataFrame:
        """stage, what, reason, n: what was left out before it became a pair."""
        return self.reader.query("report_refusals", dataset=self.dataset, sources=list(self.recipe.sources))

    @cached_property
    def kinds(self) -> pl.DataFrame:
        """kind, voters, votes, pairs, abstentions, ties, first_slot, cost_usd."""
        return self.reader.query("report_kinds", **self._votes)

    @cached_property
    def voters(self) -> pl.DataFrame:
        """kind, voter (people together), voters, votes, mean_skill, lowest_skill."""
        return self.reader.query("report_voters", dataset=self.dataset, n=self.n or None)

    @cached_property
    def skill(self) -> pl.DataFrame:
        """kind, voter, family, criterion, votes, skill, low, high, order_bias, n_of_kind."""
        return self.reader.query("report_skill", **self._version)

    @cached_property
    def histograms(self) -> pl.DataFrame:
        """measure, low, high, is_kept, pairs."""
        return self.reader.query("report_histograms", **self._version)

    @cached_property
    def models(self) -> pl.DataFrame:
        """model, metric, value, low, high, pairs, groups."""
        return self.reader.query("report_models", dataset=self.dataset)

    @cached_property
    def metrics(self) -> pl.DataFrame:
        """One row per model and gold revision: what it is, accuracy with interval, log-loss; `rank` 1 is newest."""
        return self.reader.query("report_model_metrics", dataset=self.dataset)

    @cached_property
    def gate(self) -> pl.DataFrame:
        """round, candidate, incumbent, verdict, d, low, high, pairs, groups, looks, needed, reason."""
        return self.reader.query("report_gate", dataset=self.dataset)

    @cached_property
    def gate_rules(self) -> pl.DataFrame:
        """round, recipe, version of each gate decision."""
        return self.reader.query("report_gate_rules", dataset=self.dataset)

    @cached_property
    def sources(self) -> pl.DataFrame:
        """source, pairs, licence, may_redistribute, revision, terms."""
        return self.reader.query("report_sources", **self._version)

    @cached_property
    def authors(self) -> pl.DataFrame:
        """policy, responses, model, revision, licence, may_redistribute."""
        return self.reader.query("report_authors", **self._version)

    @cached_property
    def tags(self) -> list[str]:
        """Tags that point at the version."""
        found = self.reader.query("report_tags", dataset=self.dataset)
        return found.filter(pl.col("n") == self.n)["tag"].to_list()

    @cached_property
    def bought(self) -> pl.DataFrame:
        """The routing ledger by round and reason, of rounds that released a version: only there labels are known."""
        released = self._log.tail(LEDGER_ROUNDS)
        routes = self.reader.query("routes_with_votes", dataset=self.dataset).join(
            released, on="round_id", how="semi")
        if routes.is_empty():
            return routes
        came = routes.drop_nulls("paid_usd").select("route_id", "seconds", cost_usd="paid_usd")
        found = ledger(routes.select(*ROUTES.schema), came, self._routed_labels(released))
        rounds = routes.select("round_id", "round").unique()
        return found.join(rounds, on="round_id").sort("round", "reason").select(
            "round", "reason", "n_routes", "n_votes", pl.col("cost_usd").round(2),
            # Recorded votes carry no time.
            pl.when(pl.col("seconds") > 0).then(pl.col("seconds") / 3600).alias("hours"),
            pl.col("n_changed").round(1), pl.col("expected_gain").round(2), pl.col("realised_gain").round(2))

    def _routed_labels(self, released: pl.DataFrame) -> pl.DataFrame:
        """(round_id, pair_id, p_a, p_tie) of routed pairs, each in the version of its round."""
        return pl.concat([
            self.reader.query("report_routed_labels", dataset=self.dataset, n=n, round_id=round_id)
            for n, round_id in released.select("n", "round_id").drop_nulls().iter_rows()
        ])

    @cached_property
    def audit(self) -> Audit:
        """Error of the labels by the random audit, corrected for people's own errors."""
        answered = self.reader.query("answered_routes", dataset=self.dataset)
        routed, said = answered.select(*ROUTES.schema), answered.select("route_id", p_a="said_p_a", p_tie="said_p_tie")
        seen, seconds = audits(routed, said), second_opinions(routed, said)
        if seen.height < FEWEST_AUDITS:
            return Audit(seen.height, None, f"{seen.height} audit votes so far; an estimate needs {FEWEST_AUDITS}")
        people = self.reader.query("human_votes", dataset=self.dataset)
        skill = human_skill(fold_orders(VOTES.complete(people), self.reader.query("all_voters"), 0.0))
        if seen["group_id"].n_unique() < 2 or skill <= 1 / 3:
            return Audit(seen.height, None, f"no estimate from {seen.height} audit votes: one group only, or people "
                                            "agree no more than by chance")
        return Audit(seen.height, audit_estimate(seen, skill, seconds=seconds))
