"""Part of `program.py`: how a base is loaded, saved and read, and what is said when that fails."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Task = Mapping[str, Any]
LORA_ALPHA_PER_RANK = 2
PADDED_TOLERANCE = 1e-3
"""between a text alone and in a padded batch, in float32; in bfloat16 only vLLM's rewards are compared"""


class FailureError(Exception):
    """What the one who asked can mend, in its own words."""

    def __init__(self, kind: str, seen: str, expected: str, next: str) -> None:
        super().__init__(seen)
        self.said = {"kind": kind, "seen": seen, "expected": expected, "next": next}


def model(place: str, revision: str | None, dtype: Any) -> Any:
    """A base, or what came of it, with one output; a head that it lacks is drawn at random."""
    with EnoughMemory():
        return library("transformers").AutoModelForSequenceClassification.from_pretrained(
            place, revision=revision, num_labels=1, dtype=dtype
        )


def saved_model(folder: Path, task: Task) -> Any:
    """What was saved, as it will be served. The head is in float32, as vLLM computes it: in bfloat16 a reward near
    4 comes in steps of 0.03."""
    saved = model(str(folder), None, dtype_of_weights(task)).to(device()).eval()
    saved.score.float()
    saved.score.register_forward_pre_hook(lambda _, given: (given[0].float(), *given[1:]))
    return saved


def why_unread(model: Any, ids: Sequence[int]) -> str:
    """Why a text gets no reward; empty: it gets one."""
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return "unreadable" if not len(ids) else "too_long" if context and len(ids) > context else ""


def dtype_of_weights(task: Task) -> Any:
    """Of the weights as they are saved and served: bfloat16 is for GPUs."""
    torch = library("torch")
    return torch.bfloat16 if task["dtype"] == "bfloat16" and torch.cuda.is_available() else torch.float32


def dtype_in_training(task: Task) -> Any:
    """Of the weights while they are trained: a step of 1e-5 is lost in bfloat16's 8 bits, so a full training keeps
    float32 and computes in bfloat16; under LoRA only the adapters are float32, and the base is not trained."""
    return dtype_of_weights(task) if task["method"] == "lora" else library("torch").float32


def lora(task: Task) -> Any:
    """Adapters on every linear layer (Hu et al. 2021); the head, new as it is, is trained whole."""
    return library("peft").LoraConfig(
        task_type="SEQ_CLS", r=task["lora_rank"], lora_alpha=LORA_ALPHA_PER_RANK * task["lora_rank"],
        lora_dropout=0.0, target_modules="all-linear", modules_to_save=["score"],
    )


def save(model: Any, task: Task, tokenizer: Any, folder: Path) -> None:
    """Weights and tokenizer, with the padding by which transformers finds the last token of a text."""
    shutil.rmtree(folder, ignore_errors=True)
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    model.config.use_cache = True
    model.to(dtype_of_weights(task)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def rewards(model: Any, texts: Sequence[Any], batch_size: int, tick: Callable[[], None]) -> list[float]:
    """Raw rewards in order; batches of like lengths, padded on the right."""
    torch, pad = library("torch"), model.config.get_text_config().pad_token_id
    order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
    found = [0.0] * len(texts)
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        width = max(len(texts[at]) for at in batch)
        ids = torch.full((len(batch), width), pad, dtype=torch.long)
        mask = torch.zeros((len(batch), width), dtype=torch.long)
        for row, at in enumerate(batch):
            ids[row, : len(texts[at])] = torch.as_tensor(texts[at], dtype=torch.long)
            mask[row, : len(texts[at])] = 1
        with torch.no_grad(), EnoughMemory():
            logits = model(input_ids=ids.to(device()), attention_mask=mask.to(device())).logits[:, 0].float()
        for at, reward in zip(batch, logits.tolist(), strict=True):
            found[at] = reward
        tick()
    return found


def check_padding(alone: Sequence[float], together: Sequence[float], task: Task) -> None:
    """The head reads the last token that is no padding. Raises FailureError where it reads another."""
    apart = max((abs(a - b) for a, b in zip(alone, together, strict=True)), default=0.0)
    if apart > PADDED_TOLERANCE and "32" in str(dtype_of_weights(task)):
        seen = f"the same texts have rewards that differ by {apart:.2g} alone and in a padded batch"
        next = "take another base: this one's head reads padding"
        raise FailureError("data", seen, f"at most {PADDED_TOLERANCE}", next)


class BaseIsThere:
    """Turns what transformers says of a base that it cannot load into words that name the setting."""

    def __init__(self, task: Task) -> None:
        self._base = task["base"]

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, OSError | ValueError | RuntimeError):
            raise FailureError("base", f"base {self._base} cannot be loaded: {' '.join(str(error).split())[:200]}",
                          "a causal or sequence-classification model that transformers knows",
                          "name its folder in settings.toml under training.bases, or mend training.trl.base") from error


NO_ROOM = ("out of memory", "can't allocate memory", "not enough memory")


class EnoughMemory:
    """Turns what torch says of full memory into words that name the setting."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        torch = library("torch")
        is_full = isinstance(error, torch.OutOfMemoryError | MemoryError) or (
            isinstance(error, RuntimeError) and any(words in str(error) for words in NO_ROOM))
        if is_full:
            raise FailureError("memory", f"out of memory: {' '.join(str(error).split())[:200]}", "a device with room",
                          "a smaller training.device_batch_size in settings.toml, a shorter training.trl.max_length, "
                          "or method = 'lora'") from error


def device() -> str:
    """Where it runs."""
    return "cuda" if library("torch").cuda.is_available() else "cpu"


def library(name: str) -> Any:
    """A library of the inference environment; the project need not hold it."""
    return importlib.import_module(name)
