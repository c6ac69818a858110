"""A run on filtered data: its catalogue is small in training, after loading, in lists and for new users."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from hrec.config import load
from hrec.inference import load_run, recommend
from hrec.inference.history import new_users
from hrec.inference.ids import item_ids
from hrec.models import find_model
from hrec.pipeline.run import run as train

CONFIGS = Path(__file__).parents[1] / "configs"
FILTER = '{"kinds": ["book", "film"], "min_user_rows": 15, "min_item_rows": 5}'


def test_a_filtered_run_loads_with_its_filter_and_recommends_what_it_left(tmp_path: Path):
    settings = [
        "data=planted-tiny",
        f"data.filter={FILTER}",
        "path.cache=null",
        f"path.output={tmp_path}",
        "device=cpu",
    ]
    train(load(str(CONFIGS / "itemknn.json"), find_model, settings), show=False)
    (folder,) = tmp_path.iterdir()
    assert "data.filter leaves" in (folder / "log.txt").read_text()
    trained = load_run(folder, "cpu")
    x = trained.data.interactions
    assert list(trained.data.kinds) == ["book", "film"]
    assert np.bincount(x.user).min() >= 15 and np.bincount(x.item).min() >= 5
    found = recommend(trained, None, k=10_000)
    assert set(found["item"].to_pylist()) <= set(item_ids(trained.data))
    seen = {(trained.data.users.ids[u], item_ids(trained.data)[i]) for u, i in zip(x.user, x.item, strict=True)}
    assert not seen & set(zip(found["user"].to_pylist(), found["item"].to_pylist(), strict=True))

    book = str(trained.data.kinds["book"].ids[0])
    table = pa.table({"item_id": [book, "music_1"], "type": ["book", "music"], "rating": [5, 5]})
    lines: list[str] = []
    assert new_users(trained, table, log=lines.append).rows.item.tolist() == [0]
    assert any("music_1" in line for line in lines)
