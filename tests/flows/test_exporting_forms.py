"""Forms of an export: each trainer's own reader finds the pairs, the labels and the splits that the version has."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import polars as pl
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from real_models import TinyModels

from flows.export_forms import kto, openrlhf, preferences, split_by_group, trl
from flows.exporting import write_export

VERSION: dict[str, object] = {
    "dataset": "d", "n": 1, "fingerprint": "f", "recipe_fingerprint": "r", "as_of": 3, "recipe": '{"dataset":"d"}',
}
OFFLINE = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
MESSAGE = pl.List(pl.Struct({"role": pl.String, "content": pl.String}))


def members(**columns: list[object]) -> pl.DataFrame:
    """Members of a version; by default a wins every pair, each prompt and group is its own."""
    n = max((len(v) for v in columns.values()), default=2)
    rows: dict[str, list[object]] = {
        "pair_id": [f"p{i}" for i in range(n)], "group_id": [f"g{i}" for i in range(n)], "source": ["s"] * n,
        "prompt": [f'[{{"role":"user","content":"why {i}?"}}]' for i in range(n)], "system": [None] * n,
        "text_a": [f"a{i}" for i in range(n)], "text_b": [f"b{i}" for i in range(n)], "p_a": [0.9] * n,
        "p_tie": [0.0] * n, "strength": [2.0] * n, "action": ["keep"] * n, "reason": [""] * n, "weight": [1.0] * n,
    }
    return pl.DataFrame({**rows, **columns}, schema_overrides={"system": pl.String, "strength": pl.Float64})


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def test_openrlhf_finds_prompt_and_sides_as_lists_that_add_up_to_a_conversation() -> None:
    rows = openrlhf(members(p_a=[0.9, 0.1])).to_dicts()
    assert rows[0] == {"pair_id": "p0", "prompt": [user("why 0?")], "chosen": [assistant("a0")],
                       "rejected": [assistant("b0")], "margin": 2.0}
    assert rows[1]["chosen"] == [assistant("b1")]


@pytest.mark.parametrize("rows", [trl, openrlhf, preferences])
def test_a_strength_that_is_not_known_somewhere_leaves_no_margin_anywhere(rows: object) -> None:
    assert callable(rows)
    assert "margin" in rows(members()).columns
    assert "margin" not in rows(members(strength=[2.0, None])).columns


def test_the_card_says_that_there_is_no_margin(tmp_path: Path) -> None:
    write_export(members(strength=[2.0, None]), VERSION, tmp_path / "out", "trl")
    assert "- no margin: the strength of some pairs is not known\n" in (tmp_path / "out" / "card.md").read_text()


def test_the_soft_label_is_the_probability_of_the_chosen_side() -> None:
    rows = preferences(members(p_a=[0.9, 0.1], p_tie=[0.0, 0.2]))
    assert rows["chosen_probability"].to_list() == pytest.approx([0.9, 0.8])


def test_a_response_has_one_label_by_what_it_wins_and_loses() -> None:
    """x beats y, y beats z, z beats x by less: x won more than it lost, z lost more, y is even and left out."""
    prompt = '[{"role":"user","content":"q"}]'
    rows = kto(members(prompt=[prompt] * 3, text_a=["x", "y", "z"], text_b=["y", "z", "x"], p_a=[0.9, 0.9, 0.6]))
    labels = {row["completion"][0]["content"]: row["label"] for row in rows.to_dicts()}
    assert labels == {"x": True, "z": False}


def test_a_surer_win_outweighs_an_unsure_loss_and_weight_counts() -> None:
    prompt = '[{"role":"user","content":"q"}]'
    asked: dict[str, list[object]] = {"prompt": [prompt] * 2, "text_a": ["x", "x"], "text_b": ["y", "z"]}
    light = kto(members(**asked, p_a=[1.0, 0.3], weight=[1.0, 1.0]))
    heavy = kto(members(**asked, p_a=[1.0, 0.3], weight=[0.1, 1.0]))
    assert [dict(zip(f["completion"].list.first().struct.field("content"), f["label"], strict=True))["x"]
            for f in (light, heavy)] == [True, False]


def test_the_same_words_to_another_prompt_are_another_response() -> None:
    rows = kto(members(text_a=["same", "other"], text_b=["other", "same"]))
    assert rows.height == 4
    assert rows["response_key"].n_unique() == 4


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from([0.1, 0.5, 0.9])), max_size=12))
def test_no_response_stands_twice_and_order_and_letters_decide_nothing(drawn: list[tuple[int, int, float]]) -> None:
    pairs = [(a, b, p) for a, b, p in drawn if a != b]
    prompt = '[{"role":"user","content":"q"}]'

    def rows(of: list[tuple[int, int, float]]) -> pl.DataFrame:
        return kto(members(prompt=[prompt] * len(of), text_a=[f"t{a}" for a, _, _ in of],
                           text_b=[f"t{b}" for _, b, _ in of], p_a=[p for *_, p in of]))

    if pairs:
        found = rows(pairs)
        assert found["completion"].list.first().struct.field("content").is_unique().all()
        assert found.equals(rows([(b, a, 1 - p) for a, b, p in reversed(pairs)]))


def test_the_card_states_the_balance_of_true_and_false(tmp_path: Path) -> None:
    prompt = '[{"role":"user","content":"q"}]'
    frame = members(prompt=[prompt] * 3, text_a=["x"] * 3, text_b=["u", "v", "w"], p_a=[0.9, 0.9, 0.9])
    write_export(frame, VERSION, tmp_path / "out", "kto")
    text = (tmp_path / "out" / "card.md").read_text()
    assert "- balance: 1 true, 3 false; responses that win as much as they lose, left out: 0\n" in text
    assert "`desirable_weight=3.00`" in text


@pytest.mark.slow
@pytest.mark.parametrize("form", ["trl", "openrlhf", "hf", "kto", "parquet"])
def test_a_version_without_pairs_is_an_export_without_rows(form: str, tmp_path: Path) -> None:
    assert write_export(members().clear(), VERSION, tmp_path / "out", form).n_rows == 0
    assert list((tmp_path / "out").glob("*.md"))


@pytest.mark.parametrize("form", ["openrlhf", "kto"])
def test_no_message_has_an_empty_key(form: str, tmp_path: Path) -> None:
    write_export(members(system=["be kind", None]), VERSION, tmp_path / "out", form)
    rows = pl.read_parquet(tmp_path / "out" / "train.parquet")
    for name in (n for n, kind in rows.schema.items() if kind == MESSAGE):
        assert rows[name].explode().struct.unnest().null_count().row(0) == (0, 0)


def test_a_group_is_on_one_side_of_the_split_whatever_else_is_in_the_version() -> None:
    rows = preferences(members(pair_id=[f"p{i:03}" for i in range(200)], group_id=[f"g{i % 50}" for i in range(200)]))
    sides = {name: set(part["group_id"]) for name, part in split_by_group(rows).items()}
    assert not sides["train"] & sides["validation"]
    assert 0 < len(sides["validation"]) < 15
    fewer = split_by_group(rows.head(100))
    assert set(fewer["validation"]["group_id"]) <= sides["validation"]


def test_one_group_alone_is_all_trained_on() -> None:
    rows = preferences(members(group_id=["only", "only"]))
    assert {name: part.height for name, part in split_by_group(rows).items()} == {"train": 2}


def test_changes_keep_the_side_that_their_group_has_in_the_export_they_are_laid_over() -> None:
    rows = preferences(members(pair_id=[f"p{i:03}" for i in range(200)], group_id=[f"g{i % 50}" for i in range(200)]))
    sides = split_by_group(rows)
    for name, part in sides.items():
        assert {side: changed.height for side, changed in split_by_group(part, are_changes=True).items()} == {
            name: part.height}
    assert split_by_group(rows.clear(), are_changes=True)["train"].height == 0


def test_no_file_of_a_split_holds_a_byte_of_the_other_s_rows(tmp_path: Path) -> None:
    """Arrow fills files up with what lies behind a filtered frame's rows."""
    groups = split_by_group(preferences(members(pair_id=[f"p{i:03}" for i in range(40)])))
    of = [*groups["validation"]["group_id"], *groups["train"]["group_id"]]  # rows of one side lie side by side
    frame = members(pair_id=[f"p{i:03}" for i in range(40)], group_id=of).with_columns(
        text_a=pl.format("a{}-says", pl.col("pair_id")), text_b=pl.format("b{}-says", pl.col("pair_id")))
    write_export(frame, VERSION, tmp_path / "out", "hf")
    for name, rows in split_by_group(preferences(frame)).items():
        raw = b"".join(path.read_bytes() for path in (tmp_path / "out" / name).glob("*.arrow"))
        seen = {pair for pair in frame["pair_id"] if f"a{pair}".encode() in raw or f"b{pair}".encode() in raw}
        assert seen == set(rows["pair_id"])


def test_equal_versions_give_equal_folders_for_datasets(tmp_path: Path) -> None:
    frame = members(pair_id=[f"p{i:03}" for i in range(40)])
    for name, rows in (("one", frame), ("two", frame.reverse())):
        write_export(rows, VERSION, tmp_path / name, "hf")
    one, two = ({p.relative_to(f): p.read_bytes() for p in f.rglob("*") if p.is_file()}
                for f in (tmp_path / "one", tmp_path / "two"))
    assert len(one) == 8
    assert one == two


@pytest.fixture
def hub_folder(tmp_path: Path) -> Path:
    frame = members(pair_id=[f"p{i:03}" for i in range(40)], system=["be kind"] + [None] * 39, p_a=[0.2] + [0.9] * 39)
    write_export(frame, VERSION, tmp_path / "out", "hf")
    return tmp_path / "out"


def test_the_header_of_the_card_is_yaml_that_names_the_splits(hub_folder: Path) -> None:
    header = yaml.safe_load((hub_folder / "README.md").read_text().split("---\n")[1])
    assert header["license"] == "unknown"
    assert [f["split"] for f in header["configs"][0]["data_files"]] == ["train", "validation"]


@pytest.mark.service
def test_datasets_loads_the_folder_both_from_disk_and_by_its_card(hub_folder: Path, tmp_path: Path) -> None:
    import datasets

    from_disk = datasets.load_from_disk(str(hub_folder))
    by_card = datasets.load_dataset(str(hub_folder), cache_dir=str(tmp_path / "cache"))
    assert {n: s.num_rows for n, s in from_disk.items()} == {n: s.num_rows for n, s in by_card.items()}
    assert sum(s.num_rows for s in from_disk.values()) == 40
    rows = {row["pair_id"]: row for split in by_card.values() for row in split}
    assert rows["p000"]["chosen"] == [{"role": "system", "content": "be kind"}, user("why 0?"), assistant("b0")]
    assert by_card["train"].features["margin"].dtype == "float64"
    assert by_card["train"].features["pair_id"].dtype == "string"


READER = """
import json, sys
import datasets
from transformers import AutoTokenizer
from trl import KTOConfig, KTOTrainer, RewardConfig, RewardTrainer
folder, tokenizer = sys.argv[1], AutoTokenizer.from_pretrained(sys.argv[2])
if tokenizer.pad_token is None:
    tokenizer.pad_token = tokenizer.eos_token


def prepared(trainer, config, form):
    path = f"{folder}/{form}" if form == "hf" else f"{folder}/{form}/train.parquet"
    rows = datasets.load_from_disk(path)["train"] if form == "hf" else datasets.load_dataset(
        "parquet", data_files=path, split="train", cache_dir=f"{folder}/cache")
    self = trainer.__new__(trainer)
    self._tokenizer, self._is_vlm, self.calculate_KL = tokenizer, False, False
    self.desirable_weight = self.undesirable_weight = 1.0
    return trainer._prepare_dataset(self, rows, tokenizer, config(
        output_dir=f"{folder}/none", max_length=1024, use_cpu=True, bf16=False), "train")


def said(ids):
    return tokenizer.decode(ids)


trl, hf = (prepared(RewardTrainer, RewardConfig, form) for form in ("trl", "hf"))
kto = prepared(KTOTrainer, KTOConfig, "kto")
print(json.dumps({
    "trl": [[said(r["chosen_ids"]), said(r["rejected_ids"]), r["margin"]] for r in trl],
    "hf": len(hf), "hf columns": hf.column_names, "kto columns": kto.column_names,
    "kto": [[said(r["prompt_ids"]), said(r["completion_ids"]), r["label"]] for r in kto],
}))
"""


@pytest.mark.service
def test_trl_prepares_what_was_exported_and_drops_what_the_card_counts(
    inference: Path, tiny: TinyModels, tmp_path: Path
) -> None:
    frame = members(p_a=[0.9, 0.1, 0.9], text_a=["yes", "no", "long " * 2000], text_b=["nope", "yep", "short"])
    for form in ("trl", "hf", "kto"):
        write_export(frame, VERSION, tmp_path / form, form)
    assert "TRL would drop: 1\n" in (tmp_path / "trl" / "card.md").read_text()
    done = subprocess.run([str(inference), "-c", READER, str(tmp_path), str(tiny.generative)], capture_output=True,
                          text=True, check=False, env=OFFLINE | {"HOME": str(tmp_path)})
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert [["yes" in chosen, "nope" in rejected, margin] for chosen, rejected, margin in found["trl"][:1]] == [
        [True, True, 2.0]]
    assert "yep" in found["trl"][1][0]
    assert len(found["trl"]) == 2
    assert found["hf"] >= 1
    assert {"chosen_ids", "rejected_ids", "margin"} <= set(found["hf columns"])
    assert {completion.strip().split()[0][:3]: label for _, completion, label in found["kto"]}["yes"] is True
    assert len(found["kto"]) == 6
