"""Sections of the recipe that say who writes and who judges: the simulated world, served models, their questions.

A served model's name is all that a recipe knows of it; where it is served, and at which price, is a setting
(`schemas/settings.py`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """A table of the recipe: unknown fields are refused, nothing changes afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SimulatedPolicy(Section):
    """A policy of the simulated world."""

    name: str
    """name of the policy"""
    quality: float = 0.0
    """mean of the latent quality of its responses, in units of the world's spread"""
    verbosity: float = 0.0
    """how many sentences of padding it adds on average: length carries no quality"""


class SimulatedVoter(Section):
    """A judge or annotator of the simulated world: Davidson's tie model over the true difference."""

    name: str
    """name of the voter"""
    skill: float = 2.0
    """scale of the true difference in its mind; 0 guesses, below 0 is adversarial"""
    order_bias: float = 0.0
    """added to the difference of whatever is shown first"""
    length_bias: float = 0.0
    """added per doubling of length in favour of the longer text"""
    tie_width: float = Field(0.3, ge=0)
    """Davidson's nu: weight of a tie against the geometric mean of the two wins"""
    family: str = ""
    """voters that share their errors; empty: a family of its own"""
    cost_usd: float = Field(0.0, ge=0)
    """price of one of its votes or calls"""


class World(Section):
    """A simulated world. Its truth is computed inside the adapter and written to no table."""

    seed: int = 0
    """fixes the world's hidden taste, prompts and texts"""
    policies: tuple[SimulatedPolicy, ...] = ()
    """who answers the prompts"""
    judges: tuple[SimulatedVoter, ...] = ()
    """models that compare two answers"""
    annotators: tuple[SimulatedVoter, ...] = ()
    """people"""
    n_prompts: int = Field(120, ge=1)
    """prompts the world asks per round"""
    n_gold: int = Field(0, ge=0)
    """gate-gold pairs, of prompts that never occur elsewhere"""
    corpus: bool = False
    """judges and annotators read the demo corpus (`examples/corpus`) and know its texts' qualities; no policies then"""

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `corpus` at its default: worlds that came before it keep their recipes' fingerprints."""
        fields: dict[str, Any] = handler(self)
        return fields if self.corpus else {name: value for name, value in fields.items() if name != "corpus"}


class Model(Section):
    """A served model: judge, policy, reward model or embedder. Where it is served is a setting."""

    name: str
    """how this recipe names it"""
    model: str
    """name under which it is served"""
    revision: str = ""
    """commit of its weights; another one is another voter, and is asked anew"""
    variant: str = ""
    """whatever else decides its answers: dtype, quantisation, a chat template that is not its own"""
    family: str = ""
    """models that share their errors (one base, one training set); empty: `model` up to its last dash"""
    licence: str | None = None
    """licence of what it writes"""
    may_redistribute: bool | None = None
    """whether what it writes may be passed on"""


class Policy(Section):
    """Who writes responses: a served model under one system prompt and one way of sampling."""

    name: str
    """how this recipe names it"""
    model: str
    """name of one of `[[models]]`"""
    system: str | None = None
    """its system prompt"""
    temperature: float = Field(1.0, ge=0)
    """of sampling"""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """of sampling"""
    max_tokens: int = Field(512, ge=1)
    """a longer response is cut off and makes no candidate"""


class Contrast(Section):
    """A rewriting of the best response that changes one attribute and nothing else."""

    attribute: str
    """what is changed: `declared_contrast` of the pair"""
    instruction: str
    """how the writer is told to change it"""
    worse: bool = True
    """the rewriting is meant to be the worse one"""
    max_length_change: Positive = 0.3
    """relative change in length beyond which the rewriting changed more than was declared"""


class Synthesis(Section):
    """Which prompts are asked, who answers, which responses are paired."""

    responses_per_prompt: int = Field(3, ge=2)
    """samples per prompt; policies take turns"""
    pairs_per_prompt: int = Field(2, ge=1)
    """pairs of a prompt's responses"""
    policies: tuple[Policy, ...] = ()
    """who answers stored prompts; of more policies than samples, each prompt draws its own pool (UltraFeedback)"""
    n_prompts: int = Field(0, ge=0)
    """stored prompts asked per round, drawn by id; 0: every one that has no response of these policies yet"""
    quotas: dict[str, Share] = {}
    """share of the round's prompts per category; empty: as they come"""
    near_duplicate: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Jaccard similarity of word 5-grams from which two prompts, or two responses to one prompt, count as one"""
    method: Literal["random", "best_of_n", "west_of_n", "tournament", "pool"] = "random"
    """which responses are paired; `pool` pairs the best rated on `judging.rate` with another (UltraFeedback)"""
    scorer: str = ""
    """who scores candidates: one of `[[models]]`, or `incumbent`; the tournament asks the first judge"""
    west_quantile: Share = 0.5
    """West-of-N: pairs whose P(best > worst) is below this quantile are left out"""
    likelihood_quantile: Share = 0.0
    """West-of-N: pairs with a response below this quantile of log-likelihood per token are left out"""
    writer: str = ""
    """one of `[[models]]`: writes prompts, contrasts, perturbations and attributes"""
    n_grown: int = Field(0, ge=0)
    """new prompts per round, written after the manner of stored ones (Self-Instruct)"""
    contrasts: tuple[Contrast, ...] = ()
    """controlled contrasts of each prompt's best response"""
    n_failures: int = Field(0, ge=0)
    """perturbed responses tried per round against the promoted reward model (failure mining)"""
    n_augmented: int = Field(0, ge=0)
    """pairs against another prompt's response per round, in a source of their own (RRM)"""
    has_attributes: bool = False
    """whether the writer tags each pair with Skywork's five attributes"""


class Qualification(Section):
    """What a judge must show before it may vote: on calibrate gold and on probes."""

    n_pairs: int = Field(200, ge=1)
    """calibrate-gold pairs asked at most"""
    min_accuracy: Share = 0.5
    """the lower bound of accuracy on decided gold reaches this"""
    max_flip_rate: Share = 0.5
    """share of pairs on which the two orders' verdicts differ"""
    max_failure_rate: Share = 0.05
    """share of answers that are no verdict"""
    max_fooled: Share = 0.1
    """share of probes of one kind that it falls for: empty texts, punctuation, openers, injected orders"""


class Judging(Section):
    """The judge panel, its question, and how its answers become votes."""

    judges: tuple[str, ...] = ()
    """names of judges that are called; recorded and imported judges need not be named"""
    margin: Share = 0.1
    """verdicts that differ between orders and a mean p within this of 1/2: an abstention"""
    instrument: str = "pairwise@1"
    """name and version of the question asked; part of every call key"""
    n_samples: int = Field(1, ge=1)
    """answers asked of one judge in one order; their share is its p (self-consistency)"""
    temperature: float = Field(0.0, ge=0)
    """of served judges; above 0 where `n_samples` is above 1"""
    max_tokens: int = Field(1024, ge=1)
    """of an answer with reasons; a constrained verdict is one token"""
    n_shots: int = Field(0, ge=0, le=8)
    """similar calibrate-gold pairs shown before the question (Skywork)"""
    aid: Literal["none", "reference", "checklist", "rubric", "principles"] = "none"
    """what `aid_model` writes for each prompt and the judge is shown"""
    aid_model: str = ""
    """one of `[[models]]`"""
    rate: tuple[str, ...] = ()
    """attributes that each judge rates from 1 to 5 on each response"""
    meta_judge: str = ""
    """one of `[[models]]`: judges verdicts given with reasons; a refuted verdict is an abstention"""
    verifiers: tuple[str, ...] = ()
    """programs that vote: `name` or `name:argument`; see `tiebreak judges --verifiers`"""
    density_ratio: tuple[str, str] | None = None
    """strong and weak model of the log-density-ratio voter"""
    follow_up: str = ""
    """model of the follow-up-likelihood voter"""
    calibration: Literal["none", "temperature", "isotonic"] = "none"
    """fitted per judge on calibrate gold at each settling; votes stay raw"""
    longer_tie_chars: int = Field(0, ge=0)
    """a slight win by a response so many characters longer counts as a tie (WildBench); 0: never"""
    qualification: Qualification | None = None
    """what a served judge must show first; nothing: every judge votes"""
