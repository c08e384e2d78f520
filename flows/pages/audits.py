"""Facts of the audits of a version (METHODS F): what its labels and its voters prefer besides quality, who agrees."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import polars as pl

from curate.auditing.clustered import with_intervals
from curate.auditing.length import MIN_DIFFERENCE
from curate.consensus.agreement import Agreement, krippendorff_alpha
from curate.consensus.folding import fold_orders
from curate.rewards.style import BOLD, CODE, HEADER, LIST_ITEM
from flows.pages.facts import DatasetFacts
from schemas.errors import RefusedError
from schemas.tables import VOTES

MOST_PAIRS = 20_000
"""pairs that Krippendorff's α is computed from; of more a random draw"""
_MARKDOWN = "|".join((HEADER, BOLD, CODE))  # as curate.rewards.style.has_markdown


@dataclass(frozen=True)
class Alpha:
    """Agreement of one kind of voter, or in words why there is none."""

    kind: str
    found: Agreement | None
    why_not: str = ""


class AuditFacts:
    """Audits of the version that `facts` are about."""

    def __init__(self, facts: DatasetFacts) -> None:
        self._facts = facts
        self._version: dict[str, object] = {"dataset": facts.dataset, "n": facts.n}
        self._votes = {**self._version, "as_of": facts.as_of(facts.n), "criterion": facts.recipe.criterion}

    @cached_property
    def traits(self) -> pl.DataFrame:
        """audit, source (null: all), n, n_groups, value, low, high, is_descriptive: do length, lists, markdown win?"""
        return with_intervals(self._facts.reader.query(
            "report_trait_audit", **self._version, longer=MIN_DIFFERENCE, list_item=LIST_ITEM, markdown=_MARKDOWN))

    @cached_property
    def habits(self) -> pl.DataFrame:
        """audit, kind, voter, n, n_groups, value, low, high, is_descriptive: first slot and longer text, by voter."""
        return with_intervals(self._facts.reader.query("report_voter_audit", **self._votes, longer=MIN_DIFFERENCE))

    @cached_property
    def length_correlation(self) -> pl.DataFrame:
        """what (labels, or a model), value, n."""
        return self._facts.reader.query("report_length_correlation", **self._version)

    @cached_property
    def policies(self) -> pl.DataFrame:
        """policy, kind, pairs, by_votes, by_labels: win rates by the votes of one kind, and by the labels."""
        return self._facts.reader.query("report_policy_audit", **self._votes)

    @cached_property
    def kind_agreement(self) -> pl.DataFrame:
        """kind, other (a kind or `label`), pairs, agree."""
        return self._facts.reader.query("report_kind_agreement", **self._votes)

    @cached_property
    def alphas(self) -> list[Alpha]:
        """Krippendorff's α, nominal, of people and of judges each among themselves."""
        return [self._alpha(kind) for kind in ("human", "judge")]

    def _alpha(self, kind: str) -> Alpha:
        rows = self._facts.reader.query("report_shared_votes", **self._votes, kind=kind, n_pairs=MOST_PAIRS)
        if rows.is_empty():
            return Alpha(kind, None, "no pair has votes of two or more of them")
        margin = self._facts.recipe.judging.margin
        evidence = fold_orders(VOTES.complete(rows.drop("group_id")), self._facts.reader.query("all_voters"), margin)
        try:
            return Alpha(kind, krippendorff_alpha(evidence, groups=rows.select("pair_id", "group_id").unique()))
        except RefusedError as refusal:
            return Alpha(kind, None, str(refusal))
