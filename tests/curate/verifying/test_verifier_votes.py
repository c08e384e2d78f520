"""From checks to findings, votes and vetoes: a difference is a vote, a failing plug-in an abstention, a veto final."""

from __future__ import annotations

import json

import polars as pl
import pytest
from small_rows import labels

from curate.verifying.contract import Check, Finding
from curate.verifying.examining import examine
from curate.verifying.plugins import announced, checks_of, described
from curate.verifying.votes import (
    failures,
    verifier_panel,
    verifier_voters,
    veto,
    vetoes,
    votes_from_findings,
)
from schemas.errors import RecipeError

RESPONSES = pl.DataFrame({
    "response_id": ["r1", "r2"], "prompt_id": ["p", "p"], "prompt": ["q", "q"], "response": ['{"a": 1}', "no JSON"],
})
PAIR = pl.DataFrame({"pair_id": ["pair"], "response_a": ["r1"], "response_b": ["r2"]})


class Says:
    """A plug-in that says what it is told to."""

    name = "says"

    def __init__(self, **findings: object) -> None:
        self._findings = findings

    def verify(self, prompt: str, response: str, argument: str) -> Finding:
        said = self._findings["good" if response.startswith("{") else "bad"]
        if isinstance(said, Exception):
            raise said
        return said  # type: ignore[return-value]


def voted(*checks: Check, pair: pl.DataFrame = PAIR, tags: pl.DataFrame | None = None) -> pl.DataFrame:
    wanted = pair.join(verifier_panel(checks), how="cross")
    return votes_from_findings(wanted, examine(checks, RESPONSES, tags), criterion="overall")


def vote(*checks: Check, pair: pl.DataFrame = PAIR) -> dict[str, object]:
    return voted(*checks, pair=pair).row(0, named=True)


def says(good: object, bad: object, *, is_hard: bool = False) -> Check:
    return Check(Says(good=good, bad=bad), "", is_hard, "1")


def test_the_response_that_passes_wins_against_the_one_that_fails() -> None:
    seen = vote(*checks_of(["json"]))
    assert (seen["p_a"], seen["p_tie"], seen["is_abstention"], seen["confidence"]) == (1.0, 0.0, False, 1.0)
    evidence = json.loads(str(seen["evidence"]))
    assert (evidence["a"]["is_passed"], evidence["b"]["is_passed"], evidence["why"]) == (True, False, None)


def test_swapping_the_letters_swaps_the_vote() -> None:
    swapped = PAIR.rename({"response_a": "response_b", "response_b": "response_a"})
    assert vote(*checks_of(["json"]), pair=swapped)["p_a"] == 0.0


def test_an_unsure_verifier_says_less() -> None:
    seen = vote(says(Finding(True, 0.8), Finding(False, 0.5)))
    assert (seen["p_a"], seen["p_tie"], seen["confidence"]) == (0.75, 0.0, 0.5)


@pytest.mark.parametrize(("good", "bad", "why"), [
    (Finding(True), Finding(True), "both pass"), (Finding(False), Finding(False), "both fail"),
    (Finding(None), Finding(False), "cannot tell"), (ValueError("broken"), Finding(True), "the verifier failed"),
    (Finding(True, float("nan")), Finding(True), "the verifier failed"), ("yes", Finding(True), "the verifier failed"),
])
def test_without_a_difference_a_verifier_abstains_and_says_why(good: object, bad: object, why: str) -> None:
    seen = vote(says(good, bad))
    assert (seen["is_abstention"], seen["p_a"], json.loads(str(seen["evidence"]))["why"]) == (True, None, why)


def test_a_plug_in_that_raises_is_counted_and_its_words_are_kept() -> None:
    findings = examine([says(ValueError("broken"), Finding(True))], RESPONSES)
    assert failures(findings).rows() == [("verifier/says", 1)]
    assert findings["evidence"][0] == "ValueError: broken"


def test_an_argument_that_a_verifier_refuses_stops_the_stage() -> None:
    with pytest.raises(RecipeError, match="max_wrods"):
        examine(checks_of(["length:max_wrods=3"]), RESPONSES)


def test_tags_of_a_prompt_fill_arguments_and_taggers_that_disagree_fill_none() -> None:
    tag = {"prompt_id": ["p"], "key": ["n"], "value": ["1"]}
    check = checks_of(["numeric_answer:answer={{n}}"])
    agreed = examine(check, RESPONSES, pl.DataFrame(tag))
    assert agreed["is_passed"].to_list() == [True, False]
    torn = examine(check, RESPONSES, pl.DataFrame({"prompt_id": ["p", "p"], "key": ["n", "n"], "value": ["1", "2"]}))
    assert torn["is_passed"].to_list() == [None, None]
    assert "no tag n" in torn["evidence"][0]


def test_votes_do_not_depend_on_the_order_of_rows() -> None:
    checks = checks_of(["json", "length:max_words=1"])
    findings = examine(checks, RESPONSES)
    assert findings.equals(examine(checks, RESPONSES[::-1]))
    wanted = PAIR.join(verifier_panel(checks), how="cross")
    votes = votes_from_findings(wanted, findings, criterion="overall")
    assert votes.equals(votes_from_findings(wanted[::-1], findings[::-1], criterion="overall"))


def test_one_program_with_two_arguments_is_two_voters_of_one_family() -> None:
    voters = verifier_voters(checks_of(["length:max_words=9", "length:min_words=2"]))
    assert voters["voter"].to_list() == ["verifier/length:max_words=9", "verifier/length:min_words=2"]
    assert voters["family"].unique().to_list() == ["verifier/length"]


def test_an_exclamation_mark_makes_a_check_hard_and_changes_no_vote() -> None:
    soft, hard = checks_of(["json"]), checks_of(["json!"])
    assert (soft[0].is_hard, hard[0].is_hard) == (False, True)
    assert voted(*soft).equals(voted(*hard))


@pytest.mark.parametrize("specs", [["jsn"], ["json", "json!"], [""]])
def test_unknown_and_repeated_checks_are_refused(specs: list[str]) -> None:
    with pytest.raises(RecipeError):
        checks_of(specs)


def test_every_verifier_of_ours_is_described_in_a_line() -> None:
    assert len(described()) >= 9
    assert all(described().values())


def test_only_a_hard_check_vetoes_and_only_the_response_that_fails_it() -> None:
    assert vetoes(voted(*checks_of(["json"])), checks_of(["json"])).is_empty()
    hard = checks_of(["json!"])
    assert vetoes(voted(*hard), hard).rows() == [("pair", "b", "json")]


def test_both_responses_of_a_pair_can_be_vetoed_though_the_vote_abstains() -> None:
    check = says(Finding(False), Finding(False), is_hard=True)
    assert vetoes(voted(check), [check])["response"].to_list() == ["a", "b"]


VETOED = pl.DataFrame({"pair_id": ["x", "x"], "response": ["b", "b"], "verifier": ["json", "code"]})


@pytest.mark.parametrize("was", ["keep", "drop", "flip", "soften"])
def test_a_veto_goes_before_everything_else(was: str) -> None:
    label = labels(pl.DataFrame({"pair_id": ["x"]}), p_a=0.1, action=was, reason="something", weight=1.0)
    row = veto(label, VETOED).row(0, named=True)
    assert (row["action"], row["reason"], row["weight"]) == ("drop", "vetoed:code,json", 0.0)


def test_a_label_whose_winner_passes_and_one_without_a_winner_are_left_alone() -> None:
    winner_passes = labels(pl.DataFrame({"pair_id": ["y", "x"]}), p_a=0.9)
    tie = labels(pl.DataFrame({"pair_id": ["x"]}), p_a=0.25).with_columns(p_tie=pl.lit(0.5))
    assert veto(winner_passes, VETOED).equals(winner_passes)
    assert veto(tie, VETOED).equals(tie)


def test_a_flip_to_a_response_that_fails_is_vetoed_after_the_filter() -> None:
    before = labels(pl.DataFrame({"pair_id": ["x"]}), p_a=0.9)
    flipped = before.with_columns(p_a=pl.lit(0.1), action=pl.lit("flip"), reason=pl.lit("scorers_disagree"))
    assert veto(before, VETOED)["action"].item() == "keep"
    assert veto(flipped, VETOED)["action"].item() == "drop"


class Rhymes:
    """A plug-in as a package would bring it."""

    name = "rhymes"

    def verify(self, prompt: str, response: str, argument: str) -> Finding:
        return Finding(response.endswith("ay"))


def announce(monkeypatch: pytest.MonkeyPatch, *entries: tuple[str, str]) -> None:
    from importlib.metadata import EntryPoint

    found = [EntryPoint(name, value, "tiebreak.verifiers") for name, value in entries]
    monkeypatch.setattr("curate.verifying.plugins.entry_points", lambda group: found)


def test_a_plug_in_is_found_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    announce(monkeypatch, ("rhymes", f"{__name__}:Rhymes"))
    assert list(announced()) == ["rhymes"]
    assert checks_of(["rhymes"])[0].verifier.verify("", "hooray", "").is_passed


@pytest.mark.parametrize("entries", [
    [("json", f"{__name__}:Rhymes")], [("rhymes", "no_such_module:Rhymes")], [("other", f"{__name__}:Rhymes")],
    [("rhymes", f"{__name__}:Rhymes"), ("rhymes", f"{__name__}:Says")],
])
def test_a_plug_in_that_cannot_be_used_as_announced_is_refused(
    monkeypatch: pytest.MonkeyPatch, entries: list[tuple[str, str]]
) -> None:
    announce(monkeypatch, *entries)
    with pytest.raises(RecipeError):
        checks_of([entries[0][0] if entries[0][0] != "json" else "rhymes"])
