"""Speculative decoding says what the model alone would say, in fewer passes."""

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from casestudies.lab.equations.speculative import expected_tokens, speculative_speed
from casestudies.lab.generate.continuation import continued, with_cache
from casestudies.lab.models.cache import KeyValueCache
from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.studies.speculative_decoding.about import (
    MODEL,
    STREAMED,
    STREAMED_FAST,
    STUDY,
    TREE,
)
from casestudies.lab.studies.speculative_decoding.drafts import (
    ModelDraft,
    PromptLookup,
    early_exit,
)
from casestudies.lab.studies.speculative_decoding.speculation import (
    Begun,
    Draft,
    Passes,
    Step,
    Tree,
    above,
    accepted_by_sampling,
    drawn,
    read,
    speculate,
)
from casestudies.lab.studies.speculative_decoding.study import Trial, a_quarter
from tests.lab.declared import document
from tests.lab.tiny import CONFIG, talkative_model, tiny_model, tiny_windows

ROOM = 100


def test_all_texts_together_are_as_much_faster_as_their_tokens_took_less_time() -> None:
    # 4 tokens a text: 0.4 and 0.8 s without a draft, 0.2 and 0.6 s with it.
    trial = Trial(Passes(tokens=[0] * 8), [], [0.1, 0.2], [2.0, 4 / 3], seconds=0.2 + 0.6)
    assert trial.pooled_speed_up == pytest.approx(1.2 / 0.8)


def test_a_quarter_of_few_texts_is_one_at_least() -> None:
    assert [a_quarter(texts) for texts in (1, 4, 5, 16)] == [1, 1, 2, 4]


class Oracle:
    """Drafts what the model will say, with some tokens changed, so that all outcomes occur."""

    def __init__(self, whole: Sequence[int], wrong: int) -> None:
        self._whole, self._wrong = whole, wrong

    def tree(self, text: Sequence[int], step: Step) -> Tree:
        tree = Tree([text[-1]])
        for place in range(len(text), min(len(text) + step.drafted, len(self._whole))):
            token = self._whole[place] if place % self._wrong else (self._whole[place] + 1) % 300
            tree.add(token, len(tree.tokens) - 1)
        return tree


def plain(prompt: list[int], tokens: int) -> list[int]:
    start = torch.tensor([prompt])
    cache = with_cache(talkative_model(), start, tokens)
    return torch.cat(list(continued(talkative_model(), start, tokens, cache)), 1)[0].tolist()


@torch.inference_mode()
def begun(model: LanguageModel, prompt: list[int]) -> Begun:
    before = torch.tensor([prompt[:-1]])
    cache = with_cache(model, before, ROOM)
    model.hidden(before, cache)
    return Begun(list(prompt), cache)


def drafts_for(prompt: list[int], tokens: int) -> dict[str, Draft]:
    model = talkative_model()
    exit = early_exit(model, 1)
    whole = prompt + plain(prompt, tokens + 20)
    return {
        "lookup": PromptLookup(),
        "exit": ModelDraft(exit, ROOM),
        "tree": ModelDraft(exit, ROOM, branches=3),
        "the model itself": ModelDraft(model, ROOM),
        "the model itself, a tree": ModelDraft(model, ROOM, branches=3),
        "often right": Oracle(whole, 3),
        "always right": Oracle(whole, 1000),
    }


@settings(max_examples=15)
@given(seed=st.integers(0, 23), tokens=st.integers(1, 16), drafted=st.integers(1, 6))
def test_the_likeliest_tokens_are_those_of_plain_decoding(
    seed: int, tokens: int, drafted: int
) -> None:
    model, prompt = talkative_model(), tiny_windows(24, 9)[seed].tolist()
    expected = plain(prompt, tokens)
    for name, draft in drafts_for(prompt, tokens).items():
        done = speculate(model, draft, begun(model, prompt), tokens, Step(drafted))
        assert done.tokens[:tokens] == expected, name
        if name in {"always right", "the model itself", "the model itself, a tree"}:
            assert set(done.added) == {drafted + 1}
            assert done.acceptance == 1


def test_the_tokens_that_no_draft_must_change_are_several() -> None:
    assert len(set(plain(tiny_windows(24, 9)[0].tolist(), 16))) > 2


def test_what_the_model_itself_draws_is_all_accepted() -> None:
    model, generator = talkative_model(), torch.Generator().manual_seed(0)
    prompt = tiny_windows(1, 9)[0].tolist()
    draft = ModelDraft(model, ROOM)
    done = speculate(model, draft, begun(model, prompt), 20, Step(4, generator))
    assert set(done.added) == {5}
    assert len(set(done.tokens)) > 5


@torch.inference_mode()
def test_one_pass_over_a_tree_gives_each_branch_the_logits_that_it_has_alone() -> None:
    model, text = tiny_model(), [5, 6, 7, 8]
    tree = Tree([8])
    left, right = tree.add(20, 0), tree.add(30, 0)
    deep = tree.add(40, left)
    branches = {left: [20], right: [30], deep: [20, 40], tree.add(50, right): [30, 50]}
    cache = begun(model, text).cache
    found = model.logits(read(model, tree, cache))[0]
    for node, tokens in branches.items():
        alone = model(torch.tensor([text + tokens]))[0, -1]
        torch.testing.assert_close(found[node], alone)
    # What is kept of the tree then continues as if only that had been read.
    cache.keep(3, tree.path(deep))
    after = model(torch.tensor([[60]]), cache)[0, -1]
    torch.testing.assert_close(after, model(torch.tensor([[*text, 20, 40, 60]]))[0, -1])


def test_a_cache_keeps_no_token_that_it_does_not_hold() -> None:
    cache = KeyValueCache(CONFIG, 1, 12)
    tiny_model()(tiny_windows(1, 6), cache)
    with pytest.raises(ValueError, match="holds 2 tokens from 4 on"):
        cache.keep(4, [0, 2])


def two_models(vocabulary: int = 50) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    p = torch.randn(vocabulary, generator=generator).softmax(-1)
    q = torch.randn(vocabulary, generator=generator).softmax(-1)
    return p, q


def chain(q: Tensor, drafted: int, generator: torch.Generator) -> Tree:
    tree = Tree([0])
    for node in range(drafted):
        tree.q[tree.add(drawn(q, generator), node)] = q
    return tree


def test_sampling_leaves_the_distribution_as_it_is() -> None:
    p, q = two_models()
    generator, counts = torch.Generator().manual_seed(0), torch.zeros(50)
    logits = p.log().expand(4, -1)
    for _ in range(3000):
        tree = chain(q, 3, generator)
        path, last = accepted_by_sampling(tree, logits, generator)
        for token in [*(tree.tokens[node] for node in path[1:]), last]:
            counts[token] += 1
    assert chi_square_tail(counts, p) > 0.001
    # The same test notices the draft's own distribution.
    assert chi_square_tail(counts, q) < 1e-6


def chi_square_tail(counts: Tensor, probabilities: Tensor) -> float:
    """Return how likely counts that are at least so far from the expected ones are."""
    expected = counts.sum() * probabilities
    distance = ((counts - expected) ** 2 / expected).sum().double()
    freedom = torch.tensor(len(counts) - 1).double()
    return torch.special.gammaincc(freedom / 2, distance / 2).item()


def test_tokens_of_a_step_are_those_of_equation_1() -> None:
    p, q = two_models()
    acceptance = torch.minimum(p, q).sum().item()
    generator, logits = torch.Generator().manual_seed(1), p.log().expand(5, -1)
    added = []
    for _ in range(4000):
        path, _ = accepted_by_sampling(chain(q, 4, generator), logits, generator)
        added.append(float(len(path)))
    mean = torch.tensor(added)
    expected = expected_tokens(acceptance=acceptance, drafted=4)
    error = mean.std().item() / math.sqrt(len(added))
    assert abs(mean.mean().item() - expected) < 3 * error


@given(seed=st.integers(0, 10_000), sure=st.floats(0.1, 30))
def test_what_is_emitted_has_the_models_probabilities(seed: int, sure: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    p, q = (sure * torch.randn(2, 20, generator=generator).double()).softmax(-1)
    q[:5] = 0  # tokens that the draft cannot say
    q = q / q.sum()
    kept = torch.minimum(p, q)
    torch.testing.assert_close(kept + (1 - kept.sum()) * above(p, q), p)


def status(claim: str, rows: list[tuple], preset: str = "claims", **parameters: int) -> str:
    """Return how a claim stands beside a run that measured metric, variant, value and settings."""
    measurements = [
        {
            "metric": metric,
            "variant": variant,
            "settings": settings[0] if settings else {},
            "value": value,
            "unit": STUDY.metric(metric).unit,
            "n": 1,
            "spread": None,
        }
        for metric, variant, value, *settings in rows
    ]
    whole = document(
        study=STUDY.slug,
        parameters=STUDY.check(preset, parameters).model_dump(),
        measurements=measurements,
        series=[],
    )
    return STUDY.judge(STUDY.read(whole))[claim].status


AGREES, NOT = "direction agrees", "not reproduced"


@pytest.mark.parametrize(
    ("speed", "tokens", "same", "expected"),
    [
        (1.5, 4.0, 1, AGREES),
        (1.49, 4.0, 1, NOT),
        (2.0, 4.19, 1, AGREES),
        (2.0, 4.21, 1, NOT),
        (2.0, 3.81, 1, AGREES),
        (2.0, 3.79, 1, NOT),
        (2.0, 4.0, 0.999, NOT),
    ],
)
def test_the_best_length_is_judged_by_the_rule(speed, tokens, same, expected) -> None:
    rows = [
        ("speed-up", MODEL, speed, {"drafted": 8}),
        ("tokens per pass", MODEL, tokens, {"drafted": 8}),
        ("expected tokens per pass", MODEL, 4.0, {"drafted": 8}),
        ("same tokens", MODEL, same),
        # Another length that is slower, and would miss the equation.
        ("speed-up", MODEL, 1.4),
        ("tokens per pass", MODEL, 3.0),
        ("expected tokens per pass", MODEL, 2.0),
    ]
    assert status("leviathan2022speculative-0", rows) == expected
    assert status("leviathan2022speculative-0", rows, "quick") == "not run"
    assert status("leviathan2022speculative-0", rows, steps=249) == "not run"
    assert status("leviathan2022speculative-0", rows, texts=7, tokens=73) == "not run"


@pytest.mark.parametrize(
    ("acceptance", "chosen", "speed", "same", "expected"),
    [
        (0.8, 4, 1.14, 1, AGREES),
        (0.8, 4, 1.16, 1, NOT),
        (0.8, 4, 0.86, 1, AGREES),
        (0.8, 4, 0.84, 1, NOT),
        (0.8, 4, 1.0, 0.999, NOT),
        # Here the equation says 1.18 x, so that 1.1 x is near enough to it.
        (0.3, 1, 1.101 / (1.3 / 1.1), 1, AGREES),
        (0.3, 1, 1.099 / (1.3 / 1.1), 1, NOT),
    ],
)
def test_the_chosen_length_is_judged_by_the_rule(acceptance, chosen, speed, same, expected) -> None:
    """`speed` is that of the chosen length, divided by the equation's."""
    cost = 0.1
    by_equation = speculative_speed(acceptance=acceptance, drafted=chosen, draft_cost=cost)
    speeds = {1: 9.0, 4: 9.0, chosen: speed * by_equation}
    rows = [
        ("acceptance", MODEL, acceptance),
        ("draft cost", MODEL, cost),
        ("same tokens", MODEL, same),
        ("speed-up", MODEL, speeds[4]),
        ("speed-up", MODEL, speeds[1], {"drafted": 1}),
    ]
    assert status("leviathan2022speculative-1", rows) == expected
    assert status("leviathan2022speculative-1", rows, "quick") == "not run"


@pytest.mark.parametrize(
    ("speed", "tree", "same", "expected"),
    [
        (1.2, 3.5, 1, AGREES),
        (1.19, 4.0, 1, NOT),
        (2.0, 3.49, 1, NOT),
        (2.0, 4.0, 0.999, NOT),
    ],
)
def test_the_tree_is_judged_by_the_rule(speed, tree, same, expected) -> None:
    rows = [
        ("speed-up", TREE, speed),
        ("tokens per pass", TREE, tree),
        ("same tokens", TREE, same),
        ("speed-up", MODEL, 3.0),
        ("tokens per pass", MODEL, 3.5),
    ]
    assert status("miao2023specinfer-0", rows) == expected
    assert status("miao2023specinfer-0", rows, "quick") == "not run"


@pytest.mark.parametrize(
    ("speed", "tokens", "expected"),
    [
        (1.5, 1.5, AGREES),
        (1.49, 1.49, NOT),
        (3.21, 4.0, AGREES),
        (3.19, 4.0, NOT),
        (4.79, 4.0, AGREES),
        (4.81, 4.0, NOT),
    ],
)
def test_streamed_weights_are_judged_by_the_rule(speed, tokens, expected) -> None:
    rows = [
        ("speed-up", TREE, speed, {"weights": STREAMED}),
        ("tokens per pass", TREE, tokens, {"weights": STREAMED}),
        # The other link is shown and decides nothing.
        ("speed-up", TREE, 4.0 if expected == NOT else 1.0, {"weights": STREAMED_FAST}),
        ("tokens per pass", TREE, 4.0, {"weights": STREAMED_FAST}),
    ]
    assert status("miao2023specinfer-1", rows) == expected
    assert status("miao2023specinfer-1", rows, "quick") == "not run"
