"""The texts that studies calibrate and evaluate on."""

from functools import partial

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from casestudies.lab.data import text


def test_calibration_and_evaluation_share_no_document() -> None:
    corpus = text.corpus()
    calibration = {document.name for document in corpus.calibration}
    evaluation = {document.name for document in corpus.evaluation}
    assert not calibration & evaluation
    assert calibration | evaluation == {d.name for d in text.python_reference()}
    assert sum(len(d.text) for d in corpus.calibration) > 200_000
    assert sum(len(d.text) for d in corpus.evaluation) > 50_000


def test_a_file_is_split_whole_and_its_hash_follows_its_text(tmp_path) -> None:
    path = tmp_path / "book.txt"
    book = "\n\n".join(f"Paragraph {i} " + "word " * 400 for i in range(60))
    path.write_text(book, encoding="utf-8")
    assert "\n\n".join(document.text for document in text.sections(path)) == book
    first = text.corpus(path)
    assert first.calibration
    assert first.evaluation
    path.write_text(book.replace("Paragraph 7 ", "Paragraph 8 "), encoding="utf-8")
    assert text.corpus(path).sha256 != first.sha256


def test_docstrings_are_read_without_importing_the_package() -> None:
    documents = {d.name: d.text for d in text.docstrings(["pydantic"])}
    assert "Defining fields on models." in documents["pydantic/fields.py"]
    with pytest.raises(ModuleNotFoundError):
        text.docstrings(["no_such_package"])


def test_docstrings_of_a_packages_tests_are_left_out(tmp_path, monkeypatch) -> None:
    for name in ("__init__.py", "module.py", "tests/test_module.py"):
        path = tmp_path / "tests" / "tiny_package" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'"""About {name}."""\n', encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path / "tests")
    found = [document.name for document in text.docstrings(["tiny_package"])]
    assert found == ["tiny_package/__init__.py", "tiny_package/module.py"]


def test_windows_hold_the_tokens_in_order_and_samples_do_not_repeat() -> None:
    tokenizer = Tokenizer(models.WordLevel({str(i): i for i in range(100)}, "0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    documents = [
        text.Document("a", " ".join(map(str, range(50)))),
        text.Document("b", " ".join(map(str, range(50, 99)))),
    ]
    windows = text.windows(documents, tokenizer, 10)
    assert windows.flatten().tolist() == list(range(90))
    drawn = text.sample(windows, 9, seed=3)
    assert drawn[:, 0].sort().values.tolist() == list(range(0, 90, 10))
    assert torch.equal(drawn, text.sample(windows, 9, seed=3))
    assert text.spaced(windows, 3)[:, 0].tolist() == [0, 30, 60]
    assert text.spaced(windows, 9).equal(windows)
    with pytest.raises(ValueError, match="the text has 99 tokens, not the 100 of a window"):
        text.windows(documents, tokenizer, 100)
    assert text.windows(documents, tokenizer, 99).shape == (1, 99)
    for draw in (partial(text.sample, seed=0), text.spaced):
        with pytest.raises(ValueError, match="9 windows of 10 tokens, not 10"):
            draw(windows, 10)
