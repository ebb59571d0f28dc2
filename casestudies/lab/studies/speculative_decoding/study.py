"""Continues texts with drafts and without: same tokens, fewer passes, other times."""

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from casestudies.lab.contract import Setup
from casestudies.lab.data import text, tokenizers
from casestudies.lab.distributed.link import Link
from casestudies.lab.equations.speculative import expected_tokens
from casestudies.lab.generate.continuation import continued, greedy, sampled, with_cache
from casestudies.lab.measure import rounds
from casestudies.lab.models import files, shapes
from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.report import Report, Stage
from casestudies.lab.studies.speculative_decoding import drafts
from casestudies.lab.studies.speculative_decoding.about import (
    CHAINS,
    EXIT,
    EXPECTED,
    FAST_RATE,
    LINK_PASSES,
    LOOKUP,
    MODEL,
    REPEATED,
    SAMPLED,
    SPEED_CURVE,
    STREAMED,
    STREAMED_FAST,
    SUMMARY,
    TOKENS_CURVE,
    TREE,
    SpeculativeParameters,
)
from casestudies.lab.studies.speculative_decoding.speculation import (
    Begun,
    Draft,
    Passes,
    Step,
    Tree,
    read,
    speculate,
)
from casestudies.lab.train import loop

VOCABULARY, WIDTH, BLOCKS = 1024, 192, 8  # of the trained model
BEGINNING = 32  # tokens of a text that is continued
AGAIN = 16  # tokens of a text that is begun for the second time
ASKED = "\n\nSummary of the text above:\n\n"
ROUNDS = 9  # of the parts of a step


@dataclass
class Trial:
    """What one draft, at one length, did over all texts."""

    passes: Passes = field(default_factory=Passes)
    same: list[float] = field(default_factory=list)  # share of tokens before one differs, by text
    plain: list[float] = field(default_factory=list)  # seconds per token without it, by text
    speed_ups: list[float] = field(default_factory=list)  # by text
    seconds: float = 0.0  # with the draft, of all texts

    @property
    def speed_up(self) -> float:
        return statistics.median(self.speed_ups)

    @property
    def pooled_speed_up(self) -> float:
        """Return that of all texts together, each of which has as many plain tokens."""
        return statistics.mean(self.plain) * len(self.passes.tokens) / self.seconds

    def expected(self, drafted: int) -> float:
        """Return the tokens of a pass by equation 1 at the acceptance measured."""
        return expected_tokens(acceptance=self.passes.acceptance, drafted=drafted)


# By variant and draft length.
Trials = dict[tuple[str, int], Trial]


@dataclass(frozen=True)
class Bench:
    """A model, the beginnings that it continues, and what makes a draft of each variant."""

    model: LanguageModel
    prompts: list[list[int]]
    drafts: Mapping[str, Callable[[], Draft]]
    tokens: int
    room: int  # for what is drafted
    device: str

    @torch.inference_mode()
    def begun(self, prompt: list[int]) -> Begun:
        """Return the prompt, read but for its last token."""
        before = torch.tensor([prompt[:-1]], device=self.device)
        cache = with_cache(self.model, before, self.tokens + self.room)
        self.model.hidden(before, cache)
        return Begun(list(prompt), cache)

    def plain(self, prompt: list[int], by: torch.Generator | None) -> tuple[list[int], float]:
        """Return the tokens that follow, one a pass, and the seconds that they took."""
        last = torch.tensor([prompt[-1:]], device=self.device)
        choose = sampled(by) if by else greedy
        tokens = continued(self.model, last, self.tokens, self.begun(prompt).cache, choose)
        found: list[Tensor] = []
        taken = rounds.seconds(lambda: found.extend(tokens), self.device)
        return torch.cat(found, dim=1)[0].tolist(), taken

    def drafted(self, variant: str, prompt: list[int], step: Step) -> tuple[Passes, float]:
        """Return what a draft did, and the seconds that the text's tokens took."""
        begun, draft = self.begun(prompt), self.drafts[variant]()
        draft.tree(prompt[:-1], Step(1))  # the draft, too, has read the prompt before
        found: list[Passes] = []
        taken = rounds.seconds(
            lambda: found.append(speculate(self.model, draft, begun, self.tokens, step)),
            self.device,
        )
        return found[0], taken

    def trials(
        self, variants: Iterable[str], g: int, generator: torch.Generator | None = None
    ) -> Trials:
        """Continue each text without a draft, then by each variant at the length γ, in turn."""
        step, trials = Step(g, generator), {variant: Trial() for variant in variants}
        # What is only done the first time is not timed.
        first = replace(self, tokens=1)
        first.plain(self.prompts[0], generator)
        for variant in trials:
            first.drafted(variant, self.prompts[0], step)
        for prompt in self.prompts:
            tokens, seconds = self.plain(prompt, generator)
            for variant, trial in trials.items():
                passes, taken = self.drafted(variant, prompt, step)
                trial.same.append(agreement(tokens, passes.tokens))
                trial.plain.append(seconds / self.tokens)
                # The last pass may add more than was asked for.
                trial.speed_ups.append(trial.plain[-1] * len(passes.tokens) / taken)
                trial.seconds += taken
                trial.passes += passes
        return {(variant, g): trial for variant, trial in trials.items()}


def agreement(expected: list[int], found: list[int]) -> float:
    """Return the share of the expected tokens before the first that differs."""
    same = [a == b for a, b in zip(expected, found, strict=False)]
    return (same.index(False) if False in same else len(same)) / len(expected)


@contextmanager
def weights_streamed(model: LanguageModel, rate: float) -> Iterator[None]:
    """Let each block wait, in every pass, until an emulated link has carried its weights.

    It carries `rate` bytes a second. Nothing is fetched ahead: transfer and computing add up, with
    and without a draft alike.
    """
    link = Link(rate)

    def wait(block: nn.Module, arguments: object) -> None:
        weights = list(block.parameters())
        if weights[0].is_cuda:  # pragma: no cover - needs a GPU
            torch.cuda.synchronize()
        now = time.monotonic()
        time.sleep(link.arrival(sum(weight.nbytes for weight in weights), now) - now)

    hooks = [block.register_forward_pre_hook(wait) for block in model.blocks]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def run(parameters: SpeculativeParameters, setup: Setup, report: Report) -> str:
    """Measure all drafts; return the verdict. Raises ValueError if the text is too short."""
    p = parameters
    report.precision = "float32"
    corpus = text.corpus(setup.text)
    report.source("text", corpus.name, corpus.sha256)
    with report.stage("training the model and its draft", 0.6) as stage:
        bench = trained(corpus, p, setup, stage)
    with report.stage("continuing texts", 0.2) as stage:
        trials: Trials = {}
        for done, g in enumerate(lengths(p)):
            stage.at(0.5 * done / len(lengths(p)), f"{g} drafted")
            trials |= bench.trials((*CHAINS, TREE), g)
        tell(trials, p, report)
        draw(trials, report)
        stage.at(0.5, "sampling")
        generator = torch.Generator(setup.device).manual_seed(setup.seed)
        tell(bench.trials(CHAINS, p.drafted, generator), p, report, decoding=SAMPLED)
        stage.at(0.6, "timing a draft and a check")
        stream(bench, time_parts(bench, p, report), p, report, stage)
    with report.stage("prompt lookup by the pretrained model", 0.2) as stage:
        looked_up = look_up(corpus, p, setup, report, stage)
    own = {variant: trials[variant, p.drafted] for variant in (*CHAINS, TREE)}
    same = min(min(trial.same) for trial in [*trials.values(), *looked_up.values()])
    return verdict(same, own, looked_up)


def trained(
    corpus: text.Corpus, parameters: SpeculativeParameters, setup: Setup, stage: Stage
) -> Bench:
    """Return a model trained on the calibration text, with an exit and a distilled draft."""
    p, device = parameters, setup.device
    tokenizer = tokenizers.byte_pairs(corpus.calibration, VOCABULARY)
    prompts = text.windows(corpus.evaluation, tokenizer, BEGINNING)
    chosen = text.sample(prompts, p.texts, setup.seed).tolist()
    # As long as a text with its last draft, so that no model is asked at a place it never saw.
    span = BEGINNING + p.tokens + max(lengths(p)) + 1
    windows = text.windows(corpus.calibration, tokenizer, span).to(device)
    # On the CPU, so that a seed gives the same model on every device.
    generator = torch.Generator().manual_seed(setup.seed)
    model = shapes.small(tokenizer.get_vocab_size(), WIDTH, BLOCKS, generator, device)
    exit = drafts.early_exit(model, p.exit)

    def told(what: str, begin: float, share: float) -> drafts.Observe:
        return lambda step, loss: stage.at(begin + share * step / p.steps, f"{what} {loss:.2f}")

    observe, batches = told("training, loss", 0, 0.75), loop.drawn(windows, generator)
    drafts.train_with_exit(model, exit, batches, p.steps, observe)
    observe = told("distilling, divergence", 0.75, 0.25)
    small = drafts.distilled(model, windows, p.steps, generator, observe)
    # A pass may add more than is asked for, and reads all nodes of its tree.
    spare = (p.branches + 2) * (max(lengths(p)) + 1)
    room = BEGINNING + p.tokens + spare
    made: dict[str, Callable[[], Draft]] = {
        EXIT: lambda: drafts.ModelDraft(exit, room),
        MODEL: lambda: drafts.ModelDraft(small, room),
        TREE: lambda: drafts.ModelDraft(small, room, p.branches),
    }
    return Bench(model, chosen, made, p.tokens, spare, device)


def lengths(p: SpeculativeParameters) -> list[int]:
    """Return the lengths γ that are held against each other, with the reader's own."""
    return sorted({p.drafted, *rounds.lengths(1, p.longest, 2)})


def stream(
    bench: Bench, seconds: float, p: SpeculativeParameters, report: Report, stage: Stage
) -> None:
    """Report what drafts gain over two links; a plain pass takes so many seconds in memory."""
    size = sum(weight.nbytes for weight in bench.model.blocks.parameters())
    few = replace(bench, prompts=bench.prompts[: a_quarter(p.texts)])
    rates = {STREAMED: size / (LINK_PASSES * seconds), STREAMED_FAST: FAST_RATE}
    for done, (weights, rate) in enumerate(rates.items()):
        stage.at(0.7 + 0.2 * done, weights)
        report.log(f"{weights}: {rate / 1e9:.2f} GB/s")
        with weights_streamed(bench.model, rate):
            trials = few.trials((MODEL, TREE), p.drafted)
        tell(trials, p, report, weights=weights)


def look_up(
    corpus: text.Corpus, p: SpeculativeParameters, setup: Setup, report: Report, stage: Stage
) -> dict[str, Trial]:
    """Report what prompt lookup gains on the pretrained model, by what it writes."""
    pretrained = files.load(setup.model, setup.device, setup.shared)
    report.source("model", pretrained.name, pretrained.sha256)
    # So long that what is begun again has as many tokens left as are written.
    windows = text.windows(corpus.evaluation, pretrained.tokenizer, AGAIN + p.tokens)
    rows = text.sample(windows, a_quarter(p.texts), setup.seed).tolist()
    summary = pretrained.tokenizer.encode(ASKED).ids
    asked = {
        SUMMARY: [row + summary for row in rows],
        REPEATED: [row + row[:AGAIN] for row in rows],
    }
    found, made = {}, {LOOKUP: drafts.PromptLookup}
    for done, (task, prompts) in enumerate(asked.items()):
        stage.at(done / len(asked), task)
        spare = 2 * (p.drafted + 1)
        bench = Bench(pretrained.model, prompts, made, p.tokens, spare, setup.device)
        trials = bench.trials((LOOKUP,), p.drafted)
        tell(trials, p, report, text=task)
        found[task] = trials[LOOKUP, p.drafted]
    return found


def a_quarter(texts: int) -> int:
    """Return how many texts are continued where that takes long: at least one."""
    return -(-texts // 4)


def tell(trials: Trials, p: SpeculativeParameters, report: Report, **settings: Any) -> None:
    """Report the numbers of the reader's own length, and of the draft model those of every one.

    Claims ask for these.
    """
    plain = next(iter(trials.values())).plain
    report.measure_time("time per token", "plain", plain, **settings)
    for variant in dict.fromkeys(variant for variant, _ in trials):
        same = [share for (of, _), trial in trials.items() if of == variant for share in trial.same]
        if "decoding" not in settings:
            report.measure("same tokens", variant, min(same), **settings)
    for (variant, g), trial in trials.items():
        if g != p.drafted and variant != MODEL:
            continue
        own = settings if g == p.drafted else {**settings, "drafted": g}
        speed = [trial.pooled_speed_up] if "weights" in settings else trial.speed_ups
        report.measure("tokens per pass", variant, trial.passes.tokens_per_pass, **own)
        report.measure("speed-up", variant, speed, **own)
        if variant != TREE:
            report.measure("acceptance", variant, trial.passes.acceptance, **own)
        if variant in CHAINS:
            report.measure("expected tokens per pass", variant, trial.expected(g), **own)


def draw(trials: Trials, report: Report) -> None:
    """Report the curves of each draft, and of the draft model what equation 1 says."""
    for (variant, g), trial in trials.items():
        report.point(TOKENS_CURVE, variant, g, trial.passes.tokens_per_pass)
        report.point(SPEED_CURVE, variant, g, trial.speed_up)
        if variant == MODEL:
            report.point(TOKENS_CURVE, variant, g, trial.expected(g), tokens=EXPECTED)


@torch.inference_mode()
def time_parts(bench: Bench, p: SpeculativeParameters, report: Report) -> float:
    """Report c of each chain, and what checks cost; return the seconds of a plain pass."""
    prompt = bench.prompts[0]
    cache = bench.begun(prompt).cache
    ready = {variant: make() for variant, make in bench.drafts.items()}
    one = Tree(prompt[-1:])
    chain = Tree([prompt[-1]] * (p.drafted + 1), list(range(-1, p.drafted)))

    def draft(variant: str) -> Tree:
        return ready[variant].tree(prompt, Step(p.drafted))

    def check(tree: Tree) -> None:
        greedy(bench.model.logits(read(bench.model, tree, cache)))
        cache.rewind(len(prompt) - 1)

    runs = {variant: partial(draft, variant) for variant in CHAINS}
    trees = {"plain": one, MODEL + " checked": chain, TREE + " checked": draft(TREE)}
    checks = {name: partial(check, tree) for name, tree in trees.items()}
    taken = rounds.alternately({**runs, **checks}, ROUNDS, bench.device)

    def over_plain(name: str, tokens: int = 1) -> list[float]:
        return [t / tokens / step for t, step in zip(taken[name], taken["plain"], strict=True)]

    for variant in CHAINS:
        report.measure("draft cost", variant, over_plain(variant, p.drafted))
    for variant in (MODEL, TREE):
        report.measure("check time", variant, over_plain(f"{variant} checked"))
    return statistics.median(taken["plain"])


def verdict(same: float, own: dict[str, Trial], looked_up: dict[str, Trial]) -> str:
    """Return two sentences made of the run's own numbers."""
    said = "the tokens" if same == 1 else f"{100 * same:.1f} % of the tokens"
    drafted = ", ".join(
        f"{own[variant].speed_up:.1f} x with the {variant}"
        f" ({own[variant].passes.tokens_per_pass:.2f} tokens a pass)"
        for variant in (MODEL, TREE, EXIT)
    )
    repeated, summary = (looked_up[task].passes.tokens_per_pass for task in (REPEATED, SUMMARY))
    return (
        f"With {said} of plain decoding, the model trained in the run went at {drafted}. With"
        f" prompt lookup a pass of the pretrained model added {repeated:.1f} tokens where it"
        f" repeats a text, and {summary:.1f} in a summary."
    )
