"""Encoders of texts and pictures: each turns a batch of them into vectors. One file for each family.

Their packages are imported when an encoder is made, not before. Some packages hold their weights; any other model is
fetched by its name from Hugging Face or timm, which needs a network.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hrec.prepare.base import PrepareError
from hrec.prepare.encoders.encoder import Encoder

EXTRA = "'hrec[encoders]'"


def text_encoder(name: str) -> Encoder:
    """wordllama, minilm, or a model of Hugging Face by name. Raises PrepareError where it cannot be loaded."""
    from hrec.prepare.encoders import transformer, wordllama

    return _loaded({"wordllama": wordllama.load, "minilm": transformer.minilm}, transformer.by_name, name, EXTRA)


def image_encoder(name: str) -> Encoder:
    """efficientnet-lite0, or a model of timm by name. Raises PrepareError where it cannot be loaded."""
    from hrec.prepare.encoders import pictures

    return _loaded({"efficientnet-lite0": pictures.lite0}, pictures.by_name, name, "timm pillow")


def _loaded(known: dict[str, Callable[[], Encoder]], by_name: Callable[[str], Encoder], name: str, pip: str) -> Encoder:
    with _explained(name, EXTRA if name in known else pip):
        return known[name]() if name in known else by_name(name)


@contextmanager
def _explained(name: str, pip: str) -> Iterator[None]:
    """Raises PrepareError, with the command of pip, where a package is missing, or the model cannot be had."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise PrepareError(f"--encoder {name} needs the package {error.name}: pip install {pip}") from error
    except (OSError, ValueError, RuntimeError) as error:  # what Hugging Face and timm raise without a network
        reason = textwrap.shorten(str(error), 200)
        raise PrepareError(
            f"--encoder {name}: cannot be loaded ({type(error).__name__}: {reason}). See that the name is right and "
            "that there is a network, or take one whose package holds its weights (see --help)."
        ) from error
