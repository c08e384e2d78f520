"""The recipe: what decides the rows. Equal recipe and equal votes give the equal version.

A recipe holds no path, no address, no secret and no number of workers: those are settings.
It is written as TOML; `examples/` has one per use. Unknown fields are refused.
"""

from __future__ import annotations

import json
import tomllib
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from schemas.errors import RecipeError
from schemas.ids import content_id
from schemas.people import Consensus, People, Routing
from schemas.sections import Judging, Model, Positive, Section, Share, Synthesis, World


class Filtering(Section):
    """From label to keep, flip, soften or drop (Secrets of RLHF II: preference strength)."""

    method: Literal["none", "preference_strength"] = "preference_strength"
    """whether cross-fitted reward models treat the labels they disagree with"""
    treatment: Literal["drop", "flip", "soften"] = "drop"
    """what happens to them"""
    share: Share = 0.1
    """lowest share of strengths that is treated"""
    drop_ties_above: Share = 0.8
    """a label with p_tie above this teaches no order: dropped with the reason `tie`"""
    min_certainty: Share = 0.0
    """a label whose likeliest outcome is below this is dropped with the reason `uncertain`"""


class GoldRule(Section):
    """Gate gold drawn from held-out groups, beside gold marked at ingest."""

    gate_share: Share = 0.0
    """share of groups held out for the gate"""
    calibrate_share: Share = 0.0
    """share of groups whose gold examines and calibrates judges; they stay in training, never in the gate"""
    attention_share: Share = 0.0
    """share of groups whose gold is put before annotators among other tasks (`[people.quality]`); never in the gate"""
    min_human_votes: int = Field(2, ge=1)
    """a gold pair has at least so many human votes, recorded ones included"""
    min_certainty: Share = 0.0
    """a gold pair's likeliest outcome is at least this; above 0 it is the easy part"""


NOT_OF_THE_HEAD = {"engine", "trl"}


class Tuning(Section):
    """A language model with one output, trained by TRL's RewardTrainer in a program of its own."""

    base: str
    """the model that training begins from, as its hub names it: organisation/name; where it lies is a setting"""
    revision: str = ""
    """commit of the base's weights"""
    method: Literal["lora", "full"] = "lora"
    """whether adapters are trained and merged, or all weights"""
    lora_rank: int = Field(16, ge=1)
    """rank of the adapters (LoRA)"""
    epochs: Positive = 1.0
    """passes over the training pairs"""
    batch_size: int = Field(16, ge=1)
    """pairs per step; a worker may gather them from smaller batches"""
    learning_rate: Positive = 1e-5
    """peak, after a tenth of the steps; falls linearly to 0"""
    max_length: int = Field(1024, ge=8)
    """tokens; a pair with a longer side is left out and counted"""
    has_margin: bool = False
    """whether the loss asks for a margin as large as the label's strength: -log sigma(delta - margin)"""
    center: float = Field(0.01, ge=0)
    """weight of (r_chosen + r_rejected)^2, which keeps rewards near 0"""
    validation_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """share of groups kept out of training; the scale of the rewards is fitted on them"""
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """of weights and computation; float32 on a CPU"""


class Training(Section):
    """The reward model of each round."""

    engine: Literal["embedded", "trl"] = "embedded"
    """a head on features, trained in the round; or a language model, trained by `tiebreak retrain` or a GPU worker"""
    trl: Tuning | None = None
    """how the language model is trained"""
    kind: Literal["linear", "mlp"] = "linear"
    """Bradley–Terry head: linear, or one hidden layer"""
    features: tuple[Literal["words", "characters", "style"], ...] = ("words", "style")
    """feature families of the candidate"""
    panel: tuple[Literal["words", "characters", "style"], ...] = ("words", "characters")
    """feature families of the cross-fitted scorers that measure preference strength"""
    l2: Positive = 1.0
    """ridge penalty"""
    n_folds: int = Field(5, ge=2)
    """folds of cross-fitting, by group"""
    min_pairs: int = Field(20, ge=2)
    """fewer kept pairs train no candidate"""

    def head(self) -> dict[str, Any]:
        """What decides a head on features."""
        return self.model_dump(mode="json", exclude=NOT_OF_THE_HEAD)


class Gate(Section):
    """When a candidate replaces the incumbent."""

    rule: Literal["better", "non_inferior"] = "better"
    """what the lower bound of the difference must exceed: 0, or -delta while an audit improves"""
    delta: Positive = 0.01
    """margin of non-inferiority, in accuracy"""
    max_length_correlation: Share = 1.0
    """largest absolute Spearman correlation of margin and length on gold that a promoted model may have"""
    confidence: Share = 0.95
    """of the one-sided bound"""
    n_bootstrap: int = Field(2000, ge=100)
    """resamples of groups"""
    min_groups: int = Field(30, ge=2)
    """fewer gold groups: undecided"""
    min_pairs: int = Field(200, ge=2)
    """fewer decided gold pairs: undecided"""


class Recipe(Section):
    """Everything that decides the rows of a dataset's versions."""

    dataset: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
    """name of the dataset: small letters, digits, - and _"""
    seed: int = 0
    """seed of every choice that is left to chance"""
    criterion: str = "overall"
    """what is asked: votes on other criteria do not count"""
    sources: tuple[str, ...] = ()
    """sources whose pairs belong to the dataset; empty: all"""
    world: World | None = None
    models: tuple[Model, ...] = ()
    """served models that the recipe names"""
    synthesis: Synthesis = Synthesis()
    judging: Judging = Judging()
    people: People = People()
    routing: Routing = Routing()
    consensus: Consensus = Consensus()
    filtering: Filtering = Filtering()
    gold: GoldRule = GoldRule()
    training: Training = Training()
    gate: Gate = Gate()

    @model_validator(mode="after")
    def _hangs_together(self) -> Recipe:
        if self.people.engine == "simulated" and (self.world is None or not self.world.annotators):
            raise ValueError("people.engine = 'simulated' needs [[world.annotators]]")
        dearest = max((a.cost_usd for a in self.world.annotators), default=0.0) if self.world else 0.0
        if self.people.engine == "simulated" and dearest > self.people.cost_usd:
            raise ValueError(f"people.cost_usd is below the dearest annotator's {dearest}: budgets would be overdrawn")
        _check_names(self)
        return self

    @property
    def fingerprint(self) -> str:
        """Id of the recipe's content, whatever the order or layout of the file."""
        return content_id(self.canonical())

    def canonical(self) -> str:
        """The recipe as canonical JSON, defaults filled in: what is stored with rounds and versions.

        Fields that came after the first release are left out where they are at their default, so a recipe
        that does not use them keeps its fingerprint.
        """
        fields = self.model_dump(mode="json")
        for path, default in _later_defaults().items():
            *parents, name = path
            section = fields[parents[0]] if parents else fields
            if section.get(name) == default:
                del section[name]
        return json.dumps(fields, sort_keys=True, separators=(",", ":"))


_FIRST = {
    "synthesis": {"responses_per_prompt", "pairs_per_prompt"},
    "judging": {"judges", "margin", "instrument"},
    "gold": {"gate_share", "min_human_votes", "min_certainty"},
    "people": {"engine", "share_for_sale", "cost_usd"},
    "routing": {"method", "budget_votes", "budget_usd", "audit_share", "max_votes_per_pair"},
    "training": {"kind", "features", "panel", "l2", "n_folds", "min_pairs"},
}
"""fields of the first release in sections that grew later"""


def _later_defaults() -> dict[tuple[str, ...], Any]:
    later: dict[tuple[str, ...], Any] = {("models",): []}
    for section, first in _FIRST.items():
        defaults = Recipe.model_fields[section].default.model_dump(mode="json")
        later |= {(section, name): value for name, value in defaults.items() if name not in first}
    return later


def _check_names(recipe: Recipe) -> None:
    """Every name that the recipe mentions is one that it defines, once. Raises ValueError naming the field."""
    models = [m.name for m in recipe.models]
    judges = [j.name for j in recipe.world.judges] if recipe.world else []
    policies = [p.name for p in recipe.synthesis.policies]
    for what, names in (
        ("models and world.judges", models + judges), ("synthesis.policies", policies),
        ("judging.judges", list(recipe.judging.judges)),
    ):
        if len(set(names)) < len(names):
            raise ValueError(f"{what} have a name twice: {sorted(names)}")
    judging, synthesis = recipe.judging, recipe.synthesis
    mentions = {
        "judging.judges": (judging.judges, models + judges),
        "judging.aid_model": ((judging.aid_model,), models), "judging.meta_judge": ((judging.meta_judge,), models),
        "judging.density_ratio": (judging.density_ratio or (), models),
        "judging.follow_up": ((judging.follow_up,), models),
        "synthesis.policies": (tuple(p.model for p in synthesis.policies), models),
        "synthesis.scorer": ((synthesis.scorer,), [*models, "incumbent"]),
        "synthesis.writer": ((synthesis.writer,), models),
    }
    for field, (said, known) in mentions.items():
        unknown = [name for name in said if name and name not in known]
        if unknown:
            raise ValueError(f"{field} names {unknown}, known are {known}")
    _check_needs(recipe)


def _check_needs(recipe: Recipe) -> None:
    """Whatever one field asks for, another one provides. Raises ValueError saying which."""
    judging, synthesis = recipe.judging, recipe.synthesis
    needs = [
        (judging.aid != "none" and not judging.aid_model, "judging.aid needs judging.aid_model"),
        (judging.n_samples > 1 and judging.temperature == 0
         and any(m.name in judging.judges for m in recipe.models),
         "judging.n_samples above 1 needs judging.temperature above 0: equal answers are one answer"),
        (synthesis.method in ("best_of_n", "west_of_n") and not synthesis.scorer,
         f"synthesis.method = {synthesis.method!r} needs synthesis.scorer"),
        (synthesis.method == "tournament" and not judging.judges, "synthesis.method = 'tournament' needs a judge"),
        (synthesis.method == "pool" and not (judging.rate and any(m.name in judging.judges for m in recipe.models)),
         "synthesis.method = 'pool' needs judging.rate and a served judge"),
        (bool(synthesis.n_grown or synthesis.contrasts or synthesis.n_failures or synthesis.has_attributes)
         and not synthesis.writer, "n_grown, contrasts, n_failures and has_attributes need synthesis.writer"),
        (recipe.gold.gate_share + recipe.gold.calibrate_share + recipe.gold.attention_share > 1,
         "gold.gate_share + calibrate_share + attention_share is above 1"),
        (recipe.training.engine == "trl" and recipe.training.trl is None,
         "training.engine = 'trl' needs [training.trl] with a base"),
    ]
    for is_missing, what in needs:
        if is_missing:
            raise ValueError(what)


def parse_recipe(text: str, *, origin: str = "recipe") -> Recipe:
    """Recipe from TOML text (or canonical JSON). Raises RecipeError naming the first wrong field."""
    try:
        fields = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
        return Recipe.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "recipe"
        raise RecipeError(
            f"{origin}: {where} = {first.get('input')!r}"[:300], expected=first["msg"], next="edit that field"
        ) from error
    except (tomllib.TOMLDecodeError, json.JSONDecodeError) as error:
        raise RecipeError(f"{origin}: {error}", expected="TOML", next="mend the file") from error
