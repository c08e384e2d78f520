"""Sections of the recipe that say who annotates, who is asked next, and how all votes become a label."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from schemas.sections import Section, Share

Attribute = Annotated[str, Field(pattern=r"^[a-z][a-z_]{0,31}$")]


class Quality(Section):
    """What annotators must show, and how much of their work is checked."""

    gold_share: Share = 0.0
    """gold tasks mixed in, as a share of the tasks sent: pairs of attention gold, not marked as such"""
    min_gold_accuracy: Share = 0.0
    """votes of an annotator whose upper bound on gold tasks is below this are left out of the consensus"""
    onboarding_tasks: int = Field(0, ge=0)
    """gold tasks that a new annotator is given first; votes count once they are passed"""
    max_votes_per_annotator: int = Field(0, ge=0)
    """votes that count of one annotator per round; 0: no bound"""
    min_seconds: float = Field(0.0, ge=0)
    """an answer given faster is doubtful: kept, and the pair is asked again"""


class People(Section):
    """Who annotates."""

    engine: Literal["none", "replay", "simulated", "label_studio"] = "none"
    """`replay` sells recorded votes, `simulated` asks the world's annotators, `label_studio` asks people on an
    annotation platform, `none` asks nobody"""
    share_for_sale: Share = 0.5
    """replay: share of each pair's recorded votes that can be bought, rounded down; the rest is truth"""
    cost_usd: float = Field(0.25, ge=0)
    """price of one human vote"""
    guideline: str = "guideline@1"
    """name and version of the guideline that annotators read"""
    rate: tuple[Attribute, ...] = ()
    """attributes that annotators rate from 1 to 5 on each response"""
    asks_why: bool = True
    """whether the page has a field for the reason"""
    is_blind: bool = True
    """whether annotators vote without seeing what the judges said"""
    seconds_per_vote: float = Field(60.0, gt=0)
    """time of one human vote as long as none was measured: what a budget in hours is reckoned with"""
    experts: tuple[str, ...] = ()
    """simulated: annotators who settle what the others leave open"""
    quality: Quality = Quality()


class HyPER(Section):
    """Hybrid preference routing: a model of what a mix of human and AI labels is worth (Miranda et al. 2024)."""

    n_mixes: int = Field(100, ge=10)
    """simulated mixes on which the performance model is fitted"""
    l2: float = Field(1.0, gt=0)
    """ridge penalty on the shares of features"""


class Routing(Section):
    """Who votes next, under which budget."""

    method: Literal["none", "random", "length", "disagreement", "value", "active_lab", "retrieval", "hyper"] = "value"
    """how pairs are chosen beside the random audit"""
    budget_votes: int = Field(0, ge=0)
    """human votes per round"""
    budget_usd: float | None = Field(None, ge=0)
    """money for human votes per round; whichever budget ends first"""
    budget_hours: float | None = Field(None, ge=0)
    """hours of people per round; whichever budget ends first"""
    audit_share: Share = 0.05
    """share of the budget routed at random: keeps estimates unbiased and is the audit"""
    second_audit_share: Share = 0.0
    """share of audited pairs on which a second person is asked, to learn how often people are wrong"""
    max_votes_per_pair: int = Field(1, ge=1)
    """human votes asked for on one pair in one round"""
    diversity: Share = 0.0
    """how much of a pair's value is lost to each pair already chosen whose responses are near-identical"""
    escalation: Literal["none", "second", "expert"] = "none"
    """after a person contradicts the judges: nothing, a second person, or a second person and then an expert"""
    open_votes: int = Field(0, ge=0)
    """continuous mode: so many votes are asked for at a time, and the next are chosen when their answers are there;
    0 chooses the whole round's at once"""
    stop_below: float = Field(0.0, ge=0)
    """stop asking when the next hour of people would change fewer labels than this"""
    hyper: HyPER = HyPER()


class Consensus(Section):
    """From votes to a posterior."""

    method: Literal[
        "majority", "one_coin", "dawid_skene", "mace", "crowdlab", "worker_bradley_terry"
    ] = "majority"
    """majority of voters; one skill per voter (one_coin); a confusion matrix per voter (Dawid and Skene 1979); voters
    that answer or spam (MACE); agreement-weighted voters and a model (CROWDLAB); Bradley–Terry with the skill, order
    bias and tie width of each voter"""
    min_votes: int = Field(1, ge=1)
    """a label of fewer votes is dropped with the reason `too_few_votes`"""
