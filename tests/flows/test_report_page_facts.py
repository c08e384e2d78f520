"""What the page and the text say: counts of one version, sentences, what changed and why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from reported_rows import PAIRS, not_released, reported
from small_rounds import new_store

from flows.pages.audits import AuditFacts
from flows.pages.comparing import Comparison
from flows.pages.facts import DatasetFacts
from flows.pages.findings import findings
from flows.pages.words import headline, outcome, points, share, standing, usd, why_gate
from flows.reporting import compare, report
from schemas.errors import InputError
from schemas.recipe import Gate
from warehouse.reader import Reader
from warehouse.store import Store

ROW = {"candidate": "m2", "incumbent": "m1", "verdict": "refused", "reason": "", "d": 0.016, "low": -0.005,
       "pairs": 385}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reported(new_store(tmp_path_factory.mktemp("facts") / "ws")).workspace.root


@pytest.fixture
def reader(root: Path) -> Iterator[Reader]:
    with Reader(root) as reading:
        yield reading


@pytest.mark.service
def test_facts_are_those_of_the_version_asked_for(reader: Reader) -> None:
    first, newest = DatasetFacts(reader, "hand", 1), DatasetFacts(reader, "hand")
    assert (first.n, first.parent, first.is_newest) == (1, None, False)
    assert (newest.n, newest.parent, newest.is_newest) == (2, 1, True)
    assert first.funnel.rows() == [("drop", "tie", 1), ("keep", "-", 5)]
    assert newest.funnel.rows() == [("drop", "low_strength", 1), ("keep", "-", 5)]
    assert (first.sizes["n_with_people"], newest.sizes["n_with_people"]) == (0, 1)
    assert first.kinds["kind"].to_list() == ["judge"]
    assert newest.kinds.select("kind", "votes", "cost_usd").rows() == [("human", 1, 0.25), ("judge", 6, 3.0)]


@pytest.mark.service
def test_the_headline_tells_rounds_money_and_model_up_to_its_version(reader: Reader) -> None:
    first, newest = (headline(DatasetFacts(reader, "hand", n)) for n in (1, 2))
    assert newest == [
        "In 2 rounds, people and judges compared 6 pairs of responses: 5 are kept in hand@2 with a label that says "
        "which is better and how surely, 1 is left out, all for the reason low_strength.",
        "It took 1 vote of a person (0.25 USD) and 6 calls to models (3.00 USD); people were asked where an answer "
        "could change most, and 1 label came out differently after their 1 answer.",
        "The reward model trained on it picks the better response in 80 % of 40 check pairs with known truth; always "
        "picking the longer one would be right on 50 %, and the gate refused it.",
    ]
    assert "In 1 round, judges compared 6 pairs" in first[0]
    assert first[1] == ("It took 6 calls to models (3.00 USD); no person was asked about a pair in the rounds that "
                        "made it.")
    assert first[2].endswith("and the gate promoted it.")


@pytest.mark.service
def test_an_older_version_says_that_a_later_one_is_there(reader: Reader) -> None:
    (remark,) = standing(DatasetFacts(reader, "hand", 1))
    assert "A later one is there: hand@2" in remark
    assert standing(DatasetFacts(reader, "hand")) == []


@pytest.mark.service
def test_each_pair_is_counted_under_one_change_and_as_diff_counts_it(reader: Reader) -> None:
    found = Comparison(DatasetFacts(reader, "hand"), 1, 2)
    assert found.counts == {"flipped": 1, "added": 1, "removed": 1, "strength_changed": 1, "label_changed": 1,
                            "unchanged": 1}
    told = reader.query("version_diff", dataset="hand", n_a=1, n_b=2)
    assert dict(told.group_by("change").len().iter_rows()) == found.counts
    back = Comparison(DatasetFacts(reader, "hand"), 2, 1)
    assert (back.counts["added"], back.counts["removed"], back.counts["flipped"]) == (1, 1, 1)


@pytest.mark.service
def test_flips_come_first_with_both_labels_their_texts_and_why(reader: Reader) -> None:
    first, *others = Comparison(DatasetFacts(reader, "hand"), 1, 2).examples()
    assert (first["pair_id"], first["change"]) == (PAIRS[0], "flipped")
    assert (first["p_a_before"], first["p_a_after"]) == (0.9, 0.2)
    assert {first["text_a"], first["text_b"]} < {f"{kind} {i}" for kind in ("good", "bad") for i in range(6)}
    assert first["why"] == "votes between them: ann (human) b"
    assert [row["change"] for row in others] == ["removed", "added", "strength_changed", "label_changed"]
    assert others[0]["why"] == "now drop: low_strength; no vote of its own between them; the recipe differs"


@pytest.mark.service
def test_a_recipe_is_compared_field_by_field(reader: Reader) -> None:
    facts = DatasetFacts(reader, "hand")
    assert Comparison(facts, 1, 2).recipe_changes == [("seed", "-", "3")]
    assert Comparison(facts, 2, 2).recipe_changes == []


@pytest.mark.service
def test_a_bin_holds_its_lower_edge_and_the_last_one_both(reader: Reader) -> None:
    told = DatasetFacts(reader, "hand").histograms.filter(measure="certainty").select("low", "is_kept", "pairs").rows()
    kept, dropped = {0.8: 1, 0.85: 1, 0.9: 3}, {0.9: 1}
    assert {(round(low, 2), is_kept): n for low, is_kept, n in told} == {
        **{(low, True): n for low, n in kept.items()}, **{(low, False): n for low, n in dropped.items()}}


@pytest.mark.service
def test_audits_count_what_is_there(reader: Reader) -> None:
    audits = AuditFacts(DatasetFacts(reader, "hand"))
    assert audits.traits.is_empty()  # no text is 30 characters longer, none has a list
    first = audits.habits.filter(audit="prefer_first")
    assert {voter: round(value, 6) for voter, value in first.select("voter", "value").iter_rows()} == {
        "ann": 1.0, "judge": 0.9}
    assert audits.kind_agreement.select("kind", "other", "pairs", "agree").rows() == [
        ("human", "judge", 1, 0.0), ("human", "label", 1, 1.0), ("judge", "label", 6, 5 / 6)]
    assert [(alpha.kind, alpha.found) for alpha in audits.alphas] == [("human", None), ("judge", None)]
    rates = audits.policies.filter(kind="judge").select("policy", "pairs", "by_votes").rows()
    assert [(policy, n) for policy, n, _ in rates] == [("careful@1", 5), ("hasty@1", 5)]
    assert sum(rate for _, _, rate in rates) == pytest.approx(1.0)


@pytest.mark.service
def test_the_text_comparison_has_counts_recipe_and_flips(root: Path) -> None:
    text = compare(root, "hand@1", "hand@2")
    assert text.startswith("hand@1 to hand@2\n================")
    assert f"{PAIRS[0]}\n  was: a is better (0.900)\n  is:  b is better (0.800)\n  why: votes between them: ann" in text
    assert "seed   -       3" in text
    with pytest.raises(InputError, match="no version hand@9"):
        compare(root, "hand@1", "hand@9")


@pytest.mark.service
def test_the_text_report_tells_an_older_version_by_name(root: Path) -> None:
    assert "Funnel of hand@1: why" in report(root, "hand@1")
    assert "Funnel of the newest version: why" in report(root, "hand@2")


@pytest.mark.service
def test_what_is_worth_a_look_is_told_with_what_to_do(reader: Reader) -> None:
    facts = DatasetFacts(reader, "hand")
    told = findings(facts, AuditFacts(facts))
    assert told == []  # one answer, six groups: nothing is clear enough
    alone = DatasetFacts(reader, "hand", 1)
    assert findings(alone, AuditFacts(alone)) == [
        "No person has voted on a kept pair: every label rests on models alone."]


@pytest.mark.parametrize(("change", "told"), [
    ({"reason": "lower bound -0.0050 is not above 0"},
     "Refused because the gain may be chance: it is right on 1.6 percentage points more of 385 gold pairs than m1 "
     "(with 95 % confidence at least −0.5), and that bound must be above 0. m1 stays."),
    ({"reason": "lower bound -0.0300 is not above 0", "d": -0.01, "low": -0.03},
     "Refused because it is no better: it is right on 1.0 percentage points less of 385 gold pairs than m1 (with 95 % "
     "confidence at least −3.0). m1 stays."),
    ({"verdict": "promoted", "reason": "better", "low": 0.004, "incumbent": "longer-wins"},
     "Promoted because it is right on 1.6 percentage points more of 385 gold pairs than always picking the longer "
     "response (with 95 % confidence at least +0.4): more than chance explains."),
    ({"verdict": "undecided", "reason": "13 gold pairs in 13 groups, the rule asks for 200 in 30", "low": None},
     "Undecided because there is too little gold to tell: 13 gold pairs in 13 groups, the rule asks for 200 in 30. So "
     "far it is right on 1.6 percentage points more of 385 gold pairs than m1. m1 stays."),
    ({"candidate": "", "verdict": "undecided", "reason": "no new candidate"}, "Nothing to decide: no new candidate."),
    ({"reason": "margins follow length: 0.700 exceeds 0.5", "low": 0.004},
     "Refused because it prefers length too much, although it is right on 1.6 percentage points more of 385 gold pairs "
     "than m1 (with 95 % confidence at least +0.4): margins follow length: 0.700 exceeds 0.5. m1 stays."),
])
def test_the_gate_s_verdict_is_told_in_words(change: dict[str, object], told: str) -> None:
    assert why_gate({**ROW, **change}, Gate()) == told


def test_numbers_are_written_so_that_nothing_reads_as_more_than_it_is() -> None:
    assert [share(p) for p in (0.0, 0.004, 0.5, 0.996, 1.0, None)] == ["0 %", "0.4 %", "50 %", "99.6 %", "100 %", "–"]
    assert [usd(x) for x in (0.0, 1234.5, 0.0004)] == ["0.00 USD", "1,234.50 USD", "0.00040 USD"]
    assert [points(d) for d in (0.0161, -0.005)] == ["+1.6", "−0.5"]
    assert [outcome(*p) for p in ((0.9, 0.0), (0.1, 0.2), (0.25, 0.5), (None, None))] == [
        "a is better (0.900)", "b is better (0.800)", "neither is better (0.500)", "no label"]


@pytest.mark.service
def test_before_the_first_version_the_headline_says_what_is_under_way(store: Store) -> None:
    with Reader(not_released(store).workspace.root) as empty:
        told = headline(DatasetFacts(empty, "hand"))
    assert told[:2] == ["Round 2 of hand is under way and has released no version yet.", "Stages done: none."]


@pytest.mark.slow
def test_the_macro_of_transitions_is_there_for_analysts(store: Store) -> None:
    with Reader(store.workspace.root) as empty:
        rows = empty.sql("SELECT change, count(*) AS n FROM version_transitions('hand', 1, 2) GROUP BY change")
    assert rows.schema == {"change": pl.String, "n": pl.Int64}
