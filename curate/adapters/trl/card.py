"""The model card that lies beside the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.adapters.trl.lessons import MIN_GROUPS
from curate.engines import TrainingOrder

LEFT_OUT = {
    "n_too_long": "longer than max_length", "n_unreadable": "refused by the chat template",
    "n_ties": "ties, which teach no order", "n_no_weight": "of weight 0",
}


def card(order: TrainingOrder, described: Mapping[str, Any], metrics: Mapping[str, float]) -> str:
    """Markdown: what it is, what it was trained on, what was left out and why, how good it is, how to serve it."""
    return "\n".join([
        f"# {order.model}", "", "A reward model: one number for a conversation that ends with an answer. Higher is "
        "better; only differences between answers to one prompt mean anything.", "",
        *_training(order, described), "", *_data(order, metrics), "", *_measured(described, metrics), "",
        *_serving(order), "",
    ])


def _training(order: TrainingOrder, described: Mapping[str, Any]) -> list[str]:
    tuning = order.tuning
    how = f"LoRA of rank {tuning.lora_rank}, merged" if tuning.method == "lora" else "all weights"
    versions = ", ".join(f"{name} {version}" for name, version in sorted(described["versions"].items()))
    return [
        "## Training", "", f"- base: {tuning.base}{'@' + tuning.revision if tuning.revision else ''}",
        f"- TRL RewardTrainer, {how}; {tuning.epochs:g} epochs, {tuning.batch_size} pairs per step, "
        f"learning rate {tuning.learning_rate:g}, seed {order.seed}",
        f"- loss: -log sigma(difference{' - margin' if tuning.has_margin else ''}), and {tuning.center:g} times the "
        "squared sum of both rewards", f"- weights: {described['dtype']}, trained on a {described['device'].upper()}",
        *(["- the base had no chat template: a plain one lies with the tokenizer"]
          if described["template"] == "plain" else []), f"- {versions}",
    ]


def _data(order: TrainingOrder, metrics: Mapping[str, float]) -> list[str]:
    weighted = int(metrics["n_other_weight"])
    return [
        "## Data", "", f"- {int(metrics['n_rows'])} pairs in; {int(metrics['n_train'])} trained on, "
        f"{int(metrics['n_validation'])} kept to validate", *(
            f"- left out: {int(metrics[name])} {why}" for name, why in LEFT_OUT.items()),
        *([f"- {weighted} pairs have a weight other than 1; this loss knows no weights: they count as 1"]
          if weighted else []), f"- train.parquet: sha256 `{order.train_sha256}`",
    ]


def _measured(described: Mapping[str, Any], metrics: Mapping[str, float]) -> list[str]:
    if "accuracy" not in metrics:
        return ["## Measured", "", "- nothing: no pair was left to validate on; the scale is 1 by default"]
    n, n_groups = int(metrics["n_validation"]), int(metrics["n_validation_groups"])
    unit = "groups that were not trained on" if described["parted_by"] == "group" else "pairs of the one group there is"
    few = f" (descriptive: fewer than {MIN_GROUPS} groups)" if metrics["is_descriptive"] else ""
    return [
        "## Measured", "", f"- on {n} pairs of {n_groups} {unit}{few}: accuracy {metrics['accuracy']:.3f}, "
        f"log-loss {metrics['log_loss']:.3f}",
        f"- sigma(difference / {described['scale']:.4g}) is the probability that the first answer is the better one",
        "- whether it replaces another model is decided on gate gold, not on these numbers",
    ]


def _serving(order: TrainingOrder) -> list[str]:
    return [
        "## Serving", "", "```bash",
        f"vllm serve FOLDER --served-model-name rm/{order.model} --runner pooling --convert classify", "```", "",
        "Then POST `{\"model\": …, \"messages\": […], \"use_activation\": false}` to `/classify` gives the raw reward.",
    ]
