"""JRL's three views against a loop over the reviews, PV-DBOW against gensim, and memory by the length of a review."""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import torch
from torch import nn

from hrec.benchmarks.literal_jrl import LiteralJRL
from hrec.benchmarks.timing import WARM_UP, Steps, in_own_process, set_up, time_steps
from hrec.benchmarks.view_data import BEAUTY, Shape, made
from hrec.datasets.recdata import TrainData
from hrec.models.layers.bags import EmbeddingTable
from hrec.models.views.jrl import JRL
from hrec.models.views.words import Words
from hrec.pipeline.optimizers import Optimizers
from hrec.pipeline.reports import table
from hrec.settings import StageSettings

WIDTH, NEGATIVES, NOISE = 64, 5, 64
"""Of vectors; t in Eq. 3; words that hrec draws at each step."""
LOOPED = 64
"""Reviews of a step of the literal loop."""
GENSIM_REVIEWS = 20_000
ADAM = {"name": "Adam", "hyper_params": {"lr": 0.003}}


def bench_views(args: argparse.Namespace) -> None:
    """Three tables; each line in its own process."""
    print(
        f"views: made data of {BEAUTY.users:,} users, {BEAUTY.items:,} items, {BEAUTY.reviews:,} reviews of "
        f"{BEAUTY.words} words, item vectors of {BEAUTY.numbers:,} numbers; JRL with three views of width {WIDTH}"
    )
    _speed(args)
    _words_per_second(args)
    _memory(args)


# ------------------------------------------------------------------------------------------- steps


def _speed(args: argparse.Namespace) -> None:
    looped, whole = (in_own_process(steps_of, literal, BEAUTY, args)[0] for literal in (True, False))
    seconds = epochs(looped, whole, BEAUTY.reviews, args.batch_size)
    rows = [["", "ms a review", "epoch s", "times"]]
    names = (f"loop over reviews, {LOOPED * args.reference_steps} reviews timed", f"hrec, {args.steps} steps timed")
    for name, epoch in zip(names, seconds, strict=True):
        rows.append([name, f"{1e3 * epoch / BEAUTY.reviews:.3f}", f"{epoch:,.0f}", f"{seconds[0] / epoch:.1f}"])
    print(table(rows))
    print(
        f"Batches of {args.batch_size}, Adam. Epochs are extrapolated. The loop computes the loss and its gradient "
        "review by\nreview; what hrec takes to draw a batch and to update the weights is added to it as it is.\n",
        flush=True,
    )


def steps_of(literal: bool, shape: Shape, args: argparse.Namespace) -> Steps:
    """Some steps of JRL, or of the literal loop over the reviews."""
    set_up(args)
    train = made(shape)
    if literal:
        return time_steps(model_of(LiteralJRL, train), train, _settings(LOOPED), args.reference_steps)
    return time_steps(model_of(JRL, train), train, _settings(args.batch_size), args.steps)


def model_of(cls: type[JRL], train: TrainData) -> JRL:
    torch.manual_seed(0)
    views = {"review": {"negatives": NEGATIVES, "noise": NOISE}, "image": {}, "rating": {}}
    return cls(cls.Config(embedding_size=WIDTH, views=views), train)


def _settings(batch_size: int) -> StageSettings:
    return StageSettings(batch_size=batch_size, **ADAM)


def epochs(looped: Steps, whole: Steps, reviews: int, batch_size: int) -> tuple[float, float]:
    """Seconds of an epoch of the loop, and of hrec. Both draw and update once a batch of ``batch_size``."""
    steps = reviews / batch_size
    shared = steps * sum(statistics.median(whole.pieces[piece]) for piece in ("drawing", "optimiser"))
    own = [sum(statistics.median(s.pieces[piece]) for piece in ("forward", "backward")) for s in (looped, whole)]
    return shared + own[0] * reviews / statistics.median(looped.rows), shared + own[1] * steps


# ------------------------------------------------------------------------------------------- words


def _words_per_second(args: argparse.Namespace) -> None:
    theirs, ours = (in_own_process(way, BEAUTY, args)[0] for way in (gensim_words, hrec_words))
    rows = [["PV-DBOW", "words/s", "times gensim"]]
    if theirs is None:
        rows += [["gensim Doc2Vec: not installed", "-", "-"], ["hrec", f"{ours:,.0f}", "-"]]
    else:
        rows += [["gensim Doc2Vec", f"{theirs:,.0f}", "1.00"], ["hrec", f"{ours:,.0f}", f"{ours / theirs:.2f}"]]
    print(table(rows))
    print(
        f"{args.threads} threads, width {WIDTH}, {NEGATIVES} negative words a word: gensim draws them for each word, "
        f"hrec weighs {NOISE}\nwords that all reviews of a step share.\n",
        flush=True,
    )


def gensim_words(shape: Shape, args: argparse.Namespace) -> float | None:
    """Words per second of gensim's Doc2Vec; None where it is not installed."""
    try:
        from gensim.models.doc2vec import Doc2Vec, TaggedDocument
    except ImportError:
        return None
    text = made(shape._replace(reviews=min(shape.reviews, GENSIM_REVIEWS), numbers=1)).interactions.columns["review"]
    words = text.vocabulary[text.word].reshape(-1, shape.words).tolist()  # type: ignore[union-attr]
    documents = [TaggedDocument(some, [place]) for place, some in enumerate(words)]
    model = Doc2Vec(
        vector_size=WIDTH, negative=NEGATIVES, dm=0, hs=0, sample=0, min_count=1, workers=args.threads, epochs=1, seed=0
    )
    model.build_vocab(documents)
    began = time.perf_counter()
    model.train(documents, total_examples=len(documents), epochs=1)
    return len(documents) * shape.words / (time.perf_counter() - began)


def hrec_words(shape: Shape, args: argparse.Namespace) -> float:
    """Words per second of the view's PV-DBOW alone, with SGD as gensim has."""
    set_up(args)
    torch.manual_seed(0)
    model = Documents(made(shape._replace(numbers=1)))
    optimizers = Optimizers(model.parameters(), StageSettings(name="SGD", hyper_params={"lr": 0.05}))
    order = torch.randperm(shape.reviews)
    began, seen = time.perf_counter(), 0
    for number in range(WARM_UP + args.steps):
        if number == WARM_UP:
            began, seen = time.perf_counter(), 0
        some = order.roll(-number * args.batch_size)[: args.batch_size]
        optimizers.zero_grad()
        model(some).backward()
        optimizers.step()
        seen += len(some)
    return seen * shape.words / (time.perf_counter() - began)


class Documents(nn.Module):
    """A vector for each review, and the words that it predicts."""

    def __init__(self, train: TrainData) -> None:
        super().__init__()
        text: Any = train.interactions.columns["review"]
        self.reviews = EmbeddingTable(len(text), WIDTH, 0.5 / WIDTH)
        self.words = Words(text, EmbeddingTable(len(text.vocabulary), WIDTH, 0.5 / WIDTH), NEGATIVES, NOISE)

    def forward(self, document: torch.Tensor) -> torch.Tensor:
        """-L_1 for each review, int64[B] -> float[]"""
        return self.words.loss(self.reviews.rows(document), document) / len(document)


# ------------------------------------------------------------------------------------------- memory


def _memory(args: argparse.Namespace) -> None:
    shapes = [BEAUTY._replace(words=length) for length in (BEAUTY.words // 2, BEAUTY.words)]
    peaks = [in_own_process(steps_of, False, shape, args)[1] for shape in shapes]
    rows = [["words a review", "peak MB"], *([str(s.words), f"{p:,.0f}"] for s, p in zip(shapes, peaks, strict=True))]
    print(table(rows))
    short, long = (shape.reviews * shape.words for shape in shapes)
    print(
        f"{1e6 * (peaks[1] - peaks[0]) / (long - short):.0f} bytes more for each word more; a vector of width {WIDTH} "
        f"for each word would take {4 * WIDTH},\n{4e-6 * WIDTH * long:,.0f} MB for all words.\n",
        flush=True,
    )
