"""Part of `program.py`: conversations as the tokens that vLLM will see."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

PAD = "<|pad|>"
# Role and text, each message closed by the end token where there is one: a base that was never taught to chat has no
# convention of its own. Line breaks are written as strings: transformers trims one that follows a block.
PLAIN_TEMPLATE = (
    "{% if bos_token %}{{ bos_token }}{% endif %}{% for m in messages %}{% if not loop.first %}{{ '\\n' }}{% endif %}"
    "{{ m['role'] }}: {{ m['content'] }}{% if eos_token %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '\\nassistant: ' }}{% endif %}"
)


class Reader:
    """The tokenizer as vLLM will use it, and what it makes of conversations."""

    def __init__(self, base: str, revision: str | None) -> None:
        self.tokenizer = importlib.import_module("transformers").AutoTokenizer.from_pretrained(base, revision=revision)
        self.tokenizer.padding_side = "right"
        self.has_template = bool(self.tokenizer.chat_template)
        if not self.has_template:
            self.tokenizer.chat_template = PLAIN_TEMPLATE
        # A template says no with the first, and breaks on what it was not written for with the second.
        self._refusals = (importlib.import_module("jinja2").exceptions.TemplateError, TypeError)
        self._ends: set[int] = set()

    def ids(self, messages: Sequence[Mapping[str, str]]) -> Any:
        """(n,) int32 token ids; none for a conversation that the template refuses."""
        numpy = importlib.import_module("numpy")
        try:
            ids = self.tokenizer.apply_chat_template(list(messages), tokenize=True, return_dict=False)
        except self._refusals:
            return numpy.zeros(0, dtype=numpy.int32)
        self._ends |= set(ids[-1:])
        return numpy.asarray(ids, dtype=numpy.int32)

    def choose_padding(self) -> None:
        """A token to pad with that no text ends with: the head reads the last token that is not it.

        Where padding is the end token, as many bases have it, transformers would read the token before the end and
        vLLM the end. A token that nobody writes comes first, then a new one.
        """
        known, added = self.tokenizer, sorted(self.tokenizer.get_added_vocab())
        spare = [name for name in added if any(word in name.lower() for word in ("pad", "reserved", "unused"))]
        taken = {*self._ends, known.eos_token_id, known.bos_token_id}
        names = [name for name in (known.pad_token, *spare, known.unk_token) if name]
        free = [name for name in names if known.convert_tokens_to_ids(name) not in taken]
        known.add_special_tokens({"pad_token": free[0] if free else PAD})


def tokenised(row: dict[str, Any], reader: Reader) -> dict[str, Any]:
    """A lesson with the token ids of both sides in place of its texts."""
    asked = json.loads(row.pop("messages"))
    for side in ("chosen", "rejected"):
        row[f"{side}_ids"] = reader.ids([*asked, {"role": "assistant", "content": row.pop(side)}])
    return row


def read(row: Mapping[str, Any], reader: Reader) -> dict[str, Any]:
    """A reading as token ids."""
    return {"response_id": row["response_id"], "ids": reader.ids(json.loads(row["messages"]))}


def part(row: Mapping[str, Any], max_length: int) -> str:
    """The part that a lesson plays once its length in tokens is known."""
    lengths = [len(row["chosen_ids"]), len(row["rejected_ids"])]
    if not min(lengths):
        return "unreadable"
    return "too_long" if max(lengths) > max_length else str(row["part"])


def dataset(rows: Sequence[Mapping[str, Any]], has_margin: bool) -> Any:
    """What TRL trains on; margins on all rows or on none."""
    columns = ["chosen_ids", "rejected_ids", *(["margin"] if has_margin else [])]
    content = {column: [row[column] for row in rows] for column in columns}
    return importlib.import_module("datasets").Dataset.from_dict(content)
