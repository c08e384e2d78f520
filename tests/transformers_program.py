"""Tiny models, and what Hugging Face's transformers says of them: a program for the inference environment's Python.

    make     {"texts": [...], "models": [[kind, seed, folder], ...]} on standard input; one vocabulary for all
    answer   JSON list of questions on standard input, JSON list of answers on standard output

Kinds: `generative`, `reward` (one number per conversation), `embedder` (mean pooling). A model has random weights
and yet writes words and comes to an end: one dimension of the residual stream is the same for every token, so the
output layer can prefer the end token and avoid whatever is not a word.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)

VOCABULARY, HIDDEN, LAYERS, HEADS, CONTEXT = 2048, 128, 2, 4, 2048
PAD, START, END = "<|pad|>", "<|im_start|>", "<|im_end|>"
TEMPLATE = (
    "{% for m in messages %}" + START + "{{ m['role'] }}\n{{ m['content'] }}" + END + "\n{% endfor %}"
    "{% if add_generation_prompt %}" + START + "assistant\n{% endif %}"
)
STEADY = 1.0  # every token's value in dimension 0, before the final norm
PREFERS_END, AVOIDS = 5.0, -12.0  # logits added to the end token, and to tokens that are no text


def make(tokenizer: PreTrainedTokenizerFast, kind: str, seed: int, folder: Path) -> None:
    """One model of one seed, in the layout of the Hub."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=HIDDEN, intermediate_size=2 * HIDDEN, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, num_key_value_heads=HEADS, max_position_embeddings=CONTEXT,
        initializer_range=0.2, tie_word_embeddings=False, bos_token_id=None, dtype="float32",
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        **({"num_labels": 1} if kind == "reward" else {}),
    )
    model = (LlamaForSequenceClassification if kind == "reward" else LlamaForCausalLM)(config).eval()
    with torch.no_grad():
        if kind != "reward":
            _come_to_an_end(model, tokenizer)
    model.save_pretrained(folder)
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    if kind != "reward":
        GenerationConfig(**ends).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if kind == "embedder":
        _pool_by_mean(folder)


def learn(texts: list[str]) -> PreTrainedTokenizerFast:
    """Byte-level BPE; the answers of judges are one token each, as in large vocabularies."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=[PAD, START, END], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    raw.train_from_iterator([*texts, "tie\n" * 1000], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token=PAD, eos_token=END, chat_template=TEMPLATE, model_max_length=CONTEXT,
        extra_special_tokens=[START],
    )


def _come_to_an_end(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    model.model.embed_tokens.weight[:, 0] = STEADY
    for layer in model.model.layers:  # what a layer adds leaves dimension 0 as it is
        layer.self_attn.o_proj.weight[0] = 0
        layer.mlp.down_proj.weight[0] = 0
    model.model.norm.weight[0] = 1.0
    model.lm_head.weight.mul_(1.2)
    texts = tokenizer.batch_decode([[i] for i in range(VOCABULARY)])
    is_text = torch.tensor([t.isascii() and t.isprintable() for t in texts])
    model.lm_head.weight[:, 0] = torch.where(is_text, 0.0, AVOIDS) / _steady_output(model)
    model.lm_head.weight[tokenizer.eos_token_id, 0] = PREFERS_END / _steady_output(model)


def _steady_output(model: LlamaForCausalLM) -> float:
    """Median of dimension 0 after the final norm."""
    states = model.model(torch.arange(3, 259).unsqueeze(0)).last_hidden_state
    return float(states[0, :, 0].median())


def _pool_by_mean(folder: Path) -> None:
    """What sentence-transformers writes: the mean over tokens, then length one."""
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": HIDDEN, "pooling_mode_mean_tokens": True, "pooling_mode_lasttoken": False}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))


def answer(questions: list[dict[str, Any]]) -> list[Any]:
    """Answers in order; a question is {ask, model, messages or prompt}."""
    return [ASKED[q["ask"]](q) for q in questions]


@torch.no_grad()
def reward(question: dict[str, Any]) -> float:
    """The classification head's raw number for a conversation."""
    tokenizer = AutoTokenizer.from_pretrained(question["model"])
    model = AutoModelForSequenceClassification.from_pretrained(question["model"], dtype=torch.float32).eval()
    return float(model(_ids(tokenizer, question["messages"])).logits[0, 0])


@torch.no_grad()
def likelihood(question: dict[str, Any]) -> float:
    """log p of the last message's text after the conversation before it, in nats, without any end token."""
    tokenizer = AutoTokenizer.from_pretrained(question["model"])
    model = AutoModelForCausalLM.from_pretrained(question["model"], dtype=torch.float32).eval()
    messages = question["messages"]
    before = _ids(tokenizer, messages[:-1], add_generation_prompt=True)
    ids = _ids(tokenizer, messages, continue_final_message=True)
    logprobs = model(ids).logits[0, :-1].log_softmax(-1)
    each = logprobs.gather(1, ids[0, 1:, None])[:, 0]
    return math.fsum(each[before.shape[1] - 1 :].tolist())


@torch.no_grad()
def embedding(question: dict[str, Any]) -> list[float]:
    """Mean over the prompt's tokens of the last hidden states, scaled to length one."""
    tokenizer = AutoTokenizer.from_pretrained(question["model"])
    model = AutoModel.from_pretrained(question["model"], dtype=torch.float32).eval()
    states = model(tokenizer(question["prompt"], return_tensors="pt").input_ids).last_hidden_state[0]
    return torch.nn.functional.normalize(states.mean(0), dim=0).tolist()


def _ids(tokenizer: Any, messages: list[dict[str, str]], **how: bool) -> torch.Tensor:
    return tokenizer.apply_chat_template(messages, return_tensors="pt", return_dict=True, **how)["input_ids"]


ASKED = {"reward": reward, "likelihood": likelihood, "embedding": embedding}

if __name__ == "__main__":
    torch.set_num_threads(1)
    asked = json.load(sys.stdin)
    if sys.argv[1] == "make":
        learned = learn(asked["texts"])
        for kind, seed, folder in asked["models"]:
            make(learned, kind, seed, Path(folder))
    else:
        json.dump(answer(asked), sys.stdout)
