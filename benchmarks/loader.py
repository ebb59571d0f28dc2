"""`python -m benchmarks.loader`: our model and tokenizer held against those of transformers.

Both read the same GGUF file. It needs benchmarks/requirements-peers.txt, which `make bench`
installs; without, it says so and returns 2. It takes about a minute.
"""

import sys

import torch

from benchmarks.bars import without_peers
from casestudies.lab.data import text
from casestudies.lab.models import files as model_files

WINDOWS, LENGTH = 4, 256
MOST = 1e-4
DIGITS = "In 2017 there were 983 records, 3.14159 and 65"


def main() -> int:
    """Print both bars and return 1 if one is missed."""
    try:
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError:
        return without_peers()
    file = model_files.bundled_model()
    where = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    reference = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    ours = model_files.load()
    tokens = text.windows(text.corpus().evaluation, ours.tokenizer, LENGTH)[:WINDOWS]
    with torch.inference_mode():
        difference = (ours.model(tokens) - reference(tokens).logits).abs().max().item()
    pieces = [ours.tokenizer.decode([token]) for token in ours.tokenizer.encode(DIGITS).ids]
    split = all(len(piece.strip()) == 1 for piece in pieces if any(map(str.isdigit, piece)))
    theirs = AutoTokenizer.from_pretrained(**where)(DIGITS)["input_ids"]
    alike = "the same" if theirs == ours.tokenizer.encode(DIGITS).ids else "other"
    bars = [
        (f"largest difference of a logit {difference:.1e}, at most {MOST:.0e}", difference <= MOST),
        (f"each digit is a token of its own; transformers' tokens are {alike}", split),
    ]
    for said, held in bars:
        print(said, "ok" if held else "MISSED", sep="  ")
    return int(not all(held for _, held in bars))


if __name__ == "__main__":
    sys.exit(main())
