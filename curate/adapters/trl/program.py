"""TRL's RewardTrainer in a process of its own: a program for the inference environment's Python, started by its path.

    program.py WORK

WORK holds `task.json` (what to train, and how), `lessons.jsonl` and `readings.jsonl`. It leaves `weights/` (model and
tokenizer, there whole or not at all) and beside it `trained.json` (what was counted and measured), or `failure.json`.
`progress.json` is written anew at every step. Checkpoints lie in `checkpoints/`; one that a kill cut off is not used.
Standard input is a leash: its end ends this process at once, so nothing trains on after whoever asked for it.

Only the standard library and the training libraries are imported: Tiebreak is not installed there.
"""

from __future__ import annotations

import glob
import importlib
import importlib.metadata
import json
import math
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curate.adapters.trl import program_models as models
    from curate.adapters.trl import program_texts as texts
else:  # Tiebreak is not installed here; a safe path, if one is asked for, leaves this file's folder out
    sys.path.insert(0, str(Path(__file__).parent))
    models, texts = importlib.import_module("program_models"), importlib.import_module("program_texts")

WHOLE = "whole"
"""a file in every checkpoint that was written to its end"""
UNFINISHED = "weights.unfinished"
N_TOGETHER = 8
"""texts in the padded batch that is compared with each text alone"""
Rows = Sequence[dict[str, Any]]


class Progress:
    """`progress.json`: stage, step, steps, loss, tokens_per_second, seconds of all attempts, time (Unix)."""

    def __init__(self, path: Path) -> None:
        before = json.loads(path.read_text()) if path.is_file() else {}
        self._path, self._began, self._before = path, time.monotonic(), float(before.get("seconds", 0.0))
        self._last = self._began
        self._known = {key: before.get(key, 0) for key in ("step", "steps")} | {"loss": None, "tokens_per_second": 0.0}

    @property
    def seconds(self) -> float:
        """Of this attempt and those before it, up to their last words."""
        return self._before + time.monotonic() - self._began

    def say(self, stage: str, **news: float | None) -> None:
        """Write what is known now, whole."""
        self._known |= news
        said = {"stage": stage, **self._known, "seconds": self.seconds, "time": time.time()}
        part = self._path.with_suffix(".part")
        part.write_text(json.dumps(said))
        part.replace(self._path)
        self._last = time.monotonic()

    def along(self, stage: str, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """The same rows, told of as they pass."""
        for row in rows:
            self.tick(stage)
            yield row

    def tick(self, stage: str) -> None:
        """Say that work goes on, once a second: there are many rows."""
        if time.monotonic() - self._last > 1.0:
            self.say(stage)


def main() -> int:
    """Do what the task says; 0 done, 3 with a `failure.json`, anything else is a defect and has a traceback."""
    threading.Thread(target=_die_with_the_leash, daemon=True).start()
    _settle_in()
    work = Path(sys.argv[1])
    try:
        train(work)
    except models.FailureError as failure:
        (work / "failure.json").write_text(json.dumps(failure.said))
        return 3
    return 0


def train(work: Path) -> None:
    """All of it, from where an attempt before stopped."""
    task, progress = json.loads((work / "task.json").read_text()), Progress(work / "progress.json")
    progress.say("loading")
    with models.BaseIsThere(task):
        reader = texts.Reader(task["base"], task["revision"] or None)
    lessons = [texts.tokenised(row, reader) for row in progress.along("reading", _lines(work / "lessons.jsonl"))]
    readings = [texts.read(row, reader) for row in progress.along("reading", _lines(work / "readings.jsonl"))]
    reader.choose_padding()
    for row in lessons:
        row["part"] = texts.part(row, task["max_length"])
    trained = _counted(lessons) | {"template": "own" if reader.has_template else "plain", "versions": _versions()}
    progress.say("loading", **_counted(lessons))
    kept = {part: [row for row in lessons if row["part"] == part] for part in ("train", "validation")}
    trained |= _fit(task, reader, kept["train"], work, progress)
    trained |= _measured(task, kept["validation"], readings, work / UNFINISHED, progress)
    _write(work / "trained.json", trained | {"seconds": progress.seconds})
    (work / UNFINISHED).replace(work / "weights")
    progress.say("trained")


def _counted(lessons: Rows) -> dict[str, int]:
    """Pairs per part. Nothing of it is silent: TRL itself drops what is too long without a word."""
    parts = ("train", "validation", "too_long", "unreadable")
    counted = {f"n_{part}": sum(row["part"] == part for row in lessons) for part in parts}
    if not counted["n_train"]:
        seen = f"no pair is left to train on: {counted}"
        next = "raise training.trl.max_length, or label more"
        raise models.FailureError("data", seen, "pairs within training.trl.max_length", next)
    return counted


def _fit(task: models.Task, reader: texts.Reader, rows: Rows, work: Path, progress: Progress) -> dict[str, Any]:
    """Train and write the weights."""
    trl = models.library("trl")
    steps = max(1, math.ceil(task["epochs"] * math.ceil(len(rows) / task["batch_size"])))
    model = _base(task, reader)
    commit = getattr(model.config, "_commit_hash", None) or ""
    args = trl.RewardConfig(output_dir=str(work / "checkpoints"), max_steps=steps, **_arguments(task, steps))
    beat, data = _beat(progress, task["checkpoint_s"], steps), texts.dataset(rows, task["has_margin"])
    trainer = trl.RewardTrainer(
        model=model, args=args, train_dataset=data, processing_class=reader.tokenizer, callbacks=[beat],
        peft_config=models.lora(task) if task["method"] == "lora" else None,
    )
    for weights in trainer.model.parameters():
        if weights.requires_grad:  # a new head of a bfloat16 base too: steps of 1e-5 are lost in its 8 bits
            weights.data = weights.data.float()
    trainer.remove_callback(models.library("transformers").PrinterCallback)
    with models.EnoughMemory():
        trainer.train(resume_from_checkpoint=_last_whole(work / "checkpoints"))
    model = trainer.accelerator.unwrap_model(trainer.model)
    is_lora = task["method"] == "lora"
    models.save(model.merge_and_unload() if is_lora else model, task, reader.tokenizer, work / UNFINISHED)
    return {"steps": steps, "commit": commit, "tokens_per_second": beat.tokens_per_second}


def _base(task: models.Task, reader: texts.Reader) -> Any:
    """What training begins from: equal seeds draw equal heads."""
    models.library("transformers").set_seed(task["seed"])
    with models.BaseIsThere(task):
        model = models.model(task["base"], task["revision"] or None, models.dtype_in_training(task))
    if not hasattr(model, "score"):
        seen = f"base {task['base']} is {type(model).__name__}, whose head is not called score"
        raise models.FailureError("base", seen, "a decoder, read at its last token", "name another training.trl.base")
    if len(reader.tokenizer) > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(len(reader.tokenizer))
    return model


def _arguments(task: models.Task, steps: int) -> dict[str, Any]:
    """TRL's configuration: linear warm-up over a tenth of the steps, then linear decay to 0."""
    device_batch = next(n for n in range(task["device_batch_size"], 0, -1) if task["batch_size"] % n == 0)
    return {
        "seed": task["seed"], "data_seed": task["seed"],
        "per_device_train_batch_size": device_batch, "gradient_accumulation_steps": task["batch_size"] // device_batch,
        "learning_rate": task["learning_rate"], "lr_scheduler_type": "linear", "warmup_steps": math.ceil(steps / 10),
        "max_length": task["max_length"], "center_rewards_coefficient": task["center"] or None,
        "save_strategy": "no", "save_total_limit": 2, "logging_steps": 1, "logging_nan_inf_filter": False,
        "report_to": "none", "disable_tqdm": True, "dataloader_num_workers": 0, **_on_the_device(task),
    }


def _measured(task: models.Task, kept: Rows, readings: Rows, folder: Path, progress: Progress) -> dict[str, Any]:
    """Rewards of the validation pairs and of the first readings, by the weights as they were saved."""
    model, tick = models.saved_model(folder, task), lambda: progress.tick("measuring")
    unread = {row["response_id"]: why for row in readings if (why := models.why_unread(model, row["ids"]))}
    first = [row for row in readings if row["response_id"] not in unread][: task["n_compared"]]
    at_once = task["device_batch_size"]
    chosen, rejected = (models.rewards(model, [row[side] for row in kept], at_once, tick)
                        for side in ("chosen_ids", "rejected_ids"))
    alone, together = (models.rewards(model, [row["ids"] for row in first], n, tick) for n in (1, N_TOGETHER))
    models.check_padding(alone, together, task)
    return {
        "dtype": str(model.dtype).removeprefix("torch."), "device": model.device.type, "unread": unread,
        "validation": [[row["pair_id"], *pair] for row, *pair in zip(kept, chosen, rejected, strict=True)],
        "compared": [[row["response_id"], reward, len(row["ids"])] for row, reward in zip(first, alone, strict=True)],
    }


def _on_the_device(task: models.Task) -> dict[str, Any]:
    """On a GPU memory is short, so activations are computed again; a CPU has no fast bfloat16."""
    has_gpu = models.library("torch").cuda.is_available()
    return {
        "use_cpu": not has_gpu, "bf16": has_gpu and task["dtype"] == "bfloat16", "gradient_checkpointing": has_gpu,
        "dataloader_pin_memory": has_gpu,
    }


def _beat(progress: Progress, checkpoint_s: float, steps: int) -> Any:
    """The callback that tells the progress at every step, and now and then asks for a checkpoint."""
    callback = models.library("transformers").TrainerCallback
    return type("Beat", (callback,), {"__init__": _begin, "on_train_begin": _mark, "on_step_end": _maybe_save,
                                      "on_save": _mark_whole, "on_log": _tell})(progress, checkpoint_s, steps)


def _begin(self: Any, progress: Progress, checkpoint_s: float, steps: int) -> None:
    self.progress, self.checkpoint_s, self.steps, self.tokens_per_second = progress, checkpoint_s, steps, 0.0
    _mark(self)


def _mark(self: Any, *_: Any, **__: Any) -> None:
    self.began = self.saved = time.monotonic()


def _maybe_save(self: Any, args: Any, state: Any, control: Any, **_: Any) -> Any:
    if time.monotonic() - self.saved >= self.checkpoint_s and state.global_step < self.steps:
        control.should_save = True
    return control


def _mark_whole(self: Any, args: Any, state: Any, control: Any, **_: Any) -> None:
    (Path(args.output_dir) / f"checkpoint-{state.global_step}" / WHOLE).touch()
    self.saved = time.monotonic()


def _tell(self: Any, args: Any, state: Any, control: Any, logs: Mapping[str, float], **_: Any) -> None:
    if "loss" not in logs:
        return
    if not math.isfinite(logs["loss"]):
        raise models.FailureError("data", f"the loss is {logs['loss']} at step {state.global_step}", "a number",
                      "a lower training.trl.learning_rate in the recipe")
    self.tokens_per_second = logs["num_tokens"] / max(time.monotonic() - self.began, 1e-9)
    self.progress.say("training", step=state.global_step, steps=self.steps, loss=logs["loss"],
                      tokens_per_second=self.tokens_per_second)


def _last_whole(checkpoints: Path) -> str | None:
    """The newest checkpoint that was written to its end; the others are removed."""
    found = sorted(checkpoints.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    whole = [path for path in found if (path / WHOLE).is_file()]
    for torn in set(found) - set(whole[-1:]):
        shutil.rmtree(torn)
    return str(whole[-1]) if whole else None


def _versions() -> dict[str, str]:
    names = ("torch", "transformers", "trl", "peft", "datasets", "accelerate")
    return {name: importlib.metadata.version(name) for name in names} | {"python": sys.version.split()[0]}


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def _write(path: Path, content: Mapping[str, Any]) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content))
    part.replace(path)


def _settle_in() -> None:
    """Before torch is imported. One GPU: TRL trains on several only under a launcher of its own. One thread on a
    CPU: two were twelve times slower on a busy machine, and the order of sums must not depend on their number."""
    os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    if not glob.glob("/dev/nvidia[0-9]*") and not os.path.exists("/dev/kfd"):
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def _die_with_the_leash() -> None:
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
