"""TRL itself on a tiny model: it learns, it is reproducible, and no end of a process costs more than a few steps."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from tiny_models import ROOT
from training_orders import BASE, lessons, make_base, readings, tuning, without_manners

from curate.adapters.trl import carrying_out
from curate.adapters.trl.carrying_out import carry_out
from curate.adapters.trl.orders import file_sha256, outcome_of, write_order
from curate.adapters.trl.watching import only_trainer
from curate.engines import TrainingOutcome
from schemas.errors import CallFailedError, InputError
from schemas.ids import content_id
from schemas.tables import LESSONS

pytestmark = pytest.mark.service
CARRIER = """\
import sys
from pathlib import Path
from curate.adapters.trl.carrying_out import carry_out
folder, python, base, place = sys.argv[1:]
carry_out(Path(folder), python=Path(python), bases={base: place}, checkpoint_s=0.0)
"""


@dataclass(frozen=True)
class Carried:
    folder: Path
    outcome: TrainingOutcome
    said: list[str]


@pytest.fixture(scope="module")
def base(inference: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(inference, tmp_path_factory.mktemp("bases") / "base")


def mixed() -> pl.DataFrame:
    """120 pairs to learn from, and of each kind that is left out: 1 too long, 2 ties, 3 of weight 0."""
    extra = [lessons(1, words=90), lessons(2).with_columns(p_a=0.5), lessons(3).with_columns(weight=0.0)]
    named = [frame.with_columns(pair_id=pl.concat_str(pl.lit(f"x{i}"), "pair_id")) for i, frame in enumerate(extra)]
    return LESSONS.complete(pl.concat([lessons(), *named]))


def ordered(folder: Path, rows: pl.DataFrame, n_readings: int = 0, **other: object) -> Path:
    write_order(folder, "tiny-rm", tuning(**other), 7, rows, readings(max(n_readings, 1)).head(n_readings))
    return folder


def carried(folder: Path, inference: Path, base: Path) -> Carried:
    said: list[str] = []
    return Carried(folder, carry_out(folder, python=inference, bases={BASE: str(base)}, say=said.append), said)


@pytest.fixture(scope="module")
def full(inference: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Carried:
    """All weights, trained in one go."""
    folder = ordered(tmp_path_factory.mktemp("full") / "o", mixed(), has_margin=True)
    return carried(folder, inference, base)


def running(folder: Path) -> list[str]:
    """Processes that name the folder in their command."""
    found = [path for path in Path("/proc").glob("[0-9]*/cmdline") if is_about(path, folder)]
    return [path.parent.name for path in found if path.parent.name != str(os.getpid())]


def is_about(cmdline: Path, folder: Path) -> bool:
    try:
        return str(folder).encode() in cmdline.read_bytes()
    except OSError:
        return False


def wait_for(what: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


def test_separable_pairs_are_learned_and_held_out_groups_prove_it(full: Carried) -> None:
    metrics = full.outcome.metrics
    assert metrics["accuracy"] > 0.9
    assert metrics["log_loss"] < 0.4
    assert metrics["n_validation"] >= 20
    assert metrics["is_descriptive"] == (metrics["n_validation_groups"] < 10)
    every = {content_id("group", f"g{i}") for i in range(24)}
    assert len(every - full.outcome.groups) == metrics["n_validation_groups"] > 0


def test_every_row_has_one_end_and_is_told_of_before_the_training_begins(full: Carried) -> None:
    metrics = full.outcome.metrics
    ends = ("n_train", "n_validation", "n_too_long", "n_unreadable", "n_ties", "n_no_weight")
    assert {name: metrics[name] for name in ends[2:]} == {
        "n_too_long": 1, "n_unreadable": 0, "n_ties": 2, "n_no_weight": 3}
    assert sum(metrics[name] for name in ends) == metrics["n_rows"] == 126
    told = next(i for i, line in enumerate(full.said) if "1 too long" in line)
    assert told < next(i for i, line in enumerate(full.said) if line.startswith("step"))
    assert "2 ties and 3 of weight 0" in full.said[0]


def test_the_folder_is_whole_and_says_what_it_is(full: Carried) -> None:
    model = full.outcome.folder
    told = json.loads((model / "model.json").read_text())
    assert told["base"] == BASE
    assert told["scale"] == full.outcome.scale > 0
    assert told["versions"]["trl"]
    assert json.loads((model / "config.json").read_text())["architectures"] == ["LlamaForSequenceClassification"]
    card = (model / "README.md").read_text()
    assert "left out: 2 ties" in card
    assert f"accuracy {full.outcome.metrics['accuracy']:.3f}" in card
    assert full.outcome.metrics["tokens_per_second"] > 0
    assert not (full.folder / "work").exists()
    everything = b"".join(path.read_bytes() for path in model.iterdir())
    assert str(full.folder.parent.parent).encode() not in everything, "a model folder may be given away"


def test_what_is_finished_is_returned_and_nothing_is_started(full: Carried, tmp_path: Path) -> None:
    again = carry_out(full.folder, python=tmp_path / "no-python-at-all")
    assert (again.sha256, again.scale, again.groups) == (
        full.outcome.sha256, full.outcome.scale, full.outcome.groups)
    assert again.rewards.equals(full.outcome.rewards)


def test_a_change_to_what_came_of_it_is_seen(full: Carried) -> None:
    card = full.outcome.folder / "README.md"
    before = card.read_text()
    card.write_text(before + "\nThis model is perfect.\n")
    with pytest.raises(InputError, match="sha256"):
        outcome_of(full.folder)
    card.write_text(before)
    assert outcome_of(full.folder) is not None


@dataclass(frozen=True)
class Interrupted:
    n_left: int
    """processes left a few seconds after the carrier was killed"""
    step: int
    """the last one that the killed training told of"""
    end: Carried


@pytest.fixture(scope="module")
def interrupted(inference: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Interrupted:
    """The order of `full`: killed half-way, then failing to measure, then stopped before its last step, then done."""
    folder = ordered(tmp_path_factory.mktemp("interrupted") / "o", mixed(), has_margin=True)
    progress = folder / "work" / "progress.json"
    carrier = subprocess.Popen(
        [sys.executable, "-c", CARRIER, folder, inference, BASE, base], env=os.environ | {"PYTHONPATH": str(ROOT)})
    try:
        wait_for(lambda: told(progress).get("step", 0) >= 5)
    finally:
        carrier.send_signal(signal.SIGKILL)
        carrier.wait()
    wait_for(lambda: not running(folder), 5.0)
    n_left, step = len(running(folder)), int(told(progress)["step"])
    torn = folder / "work" / "checkpoints" / "checkpoint-11"
    torn.mkdir()
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(carrying_out, "rewards", unanswered)
        with pytest.raises(CallFailedError, match="vLLM fell over"):
            carry_out(folder, python=inference, bases={BASE: str(base)}, say=said.append)
    assert not (folder / "model").exists()
    cannot_train = Path(sys.executable)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(carrying_out, "_closed", unanswered)
        with pytest.raises(CallFailedError):  # between the model's folder and outcome.json
            carry_out(folder, python=cannot_train, bases={BASE: str(base)})
    assert outcome_of(folder) is None
    done = carry_out(folder, python=cannot_train, bases={BASE: str(base)})
    return Interrupted(n_left, step, Carried(folder, done, said))


def told(progress: Path) -> Mapping[str, float]:
    return json.loads(progress.read_text()) if progress.is_file() else {}


def unanswered(*_: object) -> pl.DataFrame:
    raise CallFailedError("vLLM fell over")


def test_a_training_dies_with_whoever_carries_it_out(interrupted: Interrupted) -> None:
    assert interrupted.n_left == 0


def test_a_killed_training_goes_on_from_its_checkpoint_to_the_same_bytes(
    interrupted: Interrupted, full: Carried
) -> None:
    steps = [int(line.split()[1]) for line in interrupted.end.said if line.startswith("step")]
    assert interrupted.step <= steps[0] <= interrupted.step + 2, "the checkpoint of the last step, no torn one"
    weights = [carried.outcome.folder / "model.safetensors" for carried in (interrupted.end, full)]
    assert file_sha256(weights[0]) == file_sha256(weights[1])
    assert interrupted.end.outcome.sha256 == full.outcome.sha256


def test_an_adapter_is_merged_and_vllm_reads_the_tokens_that_were_trained_on(
    inference: Path, base: Path, tmp_path: Path
) -> None:
    plain = without_manners(base, tmp_path / "plain")
    folder = ordered(tmp_path / "o", lessons(), 12, method="lora", learning_rate=1e-2)
    outcome = carried(folder, inference, plain).outcome
    assert outcome.metrics["accuracy"] > 0.9
    assert "lora" not in (outcome.folder / "config.json").read_text()
    assert not list(outcome.folder.glob("adapter*"))
    assert "role" in (outcome.folder / "chat_template.jinja").read_text(), "the base had none"
    assert outcome.rewards["response_id"].to_list() == [f"r{i:03}" for i in range(12)]
    good, bad = (outcome.rewards["reward"].gather_every(2, offset) for offset in (0, 1))
    assert good.min() > bad.max(), "rewards of good responses, by vLLM"
    assert running(folder) == []


def test_labels_of_a_coin_teach_nothing(inference: Path, base: Path, tmp_path: Path) -> None:
    folder = ordered(tmp_path / "o", lessons(200, n_groups=100, is_shuffled=True), validation_share=0.3)
    metrics = carried(folder, inference, base).outcome.metrics
    assert metrics["n_validation"] >= 40
    assert abs(metrics["accuracy"] - 0.5) < 3 * 0.5 / metrics["n_validation"] ** 0.5


def test_a_cancelled_training_leaves_nothing_running(inference: Path, base: Path, tmp_path: Path) -> None:
    folder = ordered(tmp_path / "o", lessons(8))

    def cancel(said: str) -> None:
        if said == "loading":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        carry_out(folder, python=inference, bases={BASE: str(base)}, say=cancel)
    assert running(folder) == []
    with only_trainer(folder):
        assert outcome_of(folder) is None


def test_a_base_that_is_no_model_is_named_with_the_setting_that_mends_it(inference: Path, tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text("{}")
    folder = ordered(tmp_path / "o", lessons(8))
    with pytest.raises(InputError, match=r"base .*/base cannot be loaded: .* next: .*training\.bases"):
        carry_out(folder, python=inference, bases={BASE: str(tmp_path / "base")})


def test_full_memory_is_told_as_such(inference: Path) -> None:
    program = (
        "import program_models, torch\n"
        "try:\n    with program_models.EnoughMemory():\n        torch.empty(1 << 60)\n"
        "except program_models.FailureError as error:\n    print(error.said['kind'])\n"
    )
    place = {"PYTHONPATH": str(ROOT / "curate" / "adapters" / "trl")}
    command, env = [inference, "-c", program], os.environ | place
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "memory\n"
