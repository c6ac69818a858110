"""Vectors that were trained elsewhere, in the place of an item's own trained vector or together with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from hrec.datasets.recdata import TrainData
from hrec.models.layers.context import PairFields
from hrec.models.layers.vector_adapter import Scale, VectorAdapter, vectors_of
from hrec.settings import Settings

SETTING = "model.pretrained.column"


class PretrainedSettings(Settings):
    """Which vectors of items a model reads, and how."""

    column: str
    """A column of vectors of items."""
    mode: Literal["init", "sum", "concat"] = "concat"
    """init: the trained vectors of items begin as these, reduced to their principal components if those are wider.
    sum: e_i + W v_i. concat: [e_i, W v_i]. Here e_i is the item's trained vector, v_i the given one, and W trained."""
    scale: Scale = "unit"
    """For sum and concat. unit: each vector has length 1; standard: each number has mean 0 and deviation 1; max:
    numbers over the largest; raw: as in the file."""


class PretrainedVectors(nn.Module):
    """The fields of items, float[B, F * d] with e_i in front -> the same with the vectors v_i of the items added.

    ``width``: by how much they become wider. With "init" nothing is added: the rows of ``fields`` are set once.
    """

    def __init__(self, data: TrainData, fields: PairFields, settings: PretrainedSettings, std: float) -> None:
        super().__init__()
        self.mode, self.width = settings.mode, fields.width if settings.mode == "concat" else 0
        self.adapter = None
        if settings.mode == "init":
            _begin_as(fields, data, settings, std)
        else:
            self.adapter = VectorAdapter.of(data, settings.column, settings.scale, fields.width, std, SETTING)

    def forward(self, x: Tensor, item: Tensor) -> Tensor:
        """item int64[B]"""
        if self.adapter is None:
            return x
        mapped = self.adapter(item)
        if self.width:
            return torch.cat([x, mapped], 1)
        own, others = x[:, : mapped.shape[1]], x[:, mapped.shape[1] :]
        return torch.cat([own + mapped, others], 1)


def without_item_column(data: TrainData, name: str) -> TrainData:
    """The data without this column of items, for the fields: it is not read twice."""
    kinds = {
        kind: replace(table, columns={key: column for key, column in table.columns.items() if key != name})
        for kind, table in data.kinds.items()
    }
    return replace(data, kinds=kinds)


def _begin_as(fields: PairFields, data: TrainData, settings: PretrainedSettings, std: float) -> None:
    """Sets the rows of items in the matrix of the fields; items without a vector keep theirs."""
    for vectors in vectors_of(data, settings.column, "raw", SETTING):
        item = vectors.known.nonzero().squeeze(1)
        first = principal_components(vectors.value[item], fields.width, std)
        with torch.no_grad():
            fields.table.weight[fields.id_rows["item"] + item, : first.shape[1]] = first


def principal_components(x: Tensor, width: int, std: float) -> Tensor:
    """x float[m, D] -> float[m, min(D, width)]: centred, and where D > width its first principal components; their
    numbers have the deviation ``std`` together. Signs are such that the largest weight of a component is positive."""
    y = x.double() - x.double().mean(0)
    if y.shape[1] > width:
        axes = torch.linalg.eigh(y.T @ y).eigenvectors[:, -width:].flip(1)
        largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
        y = y @ (axes * largest.sign())
    size = y.square().mean().sqrt() if y.numel() else y.new_ones(())
    return (y * (std / size if size > 0 else 0.0)).to(x.dtype)
