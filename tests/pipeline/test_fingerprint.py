"""data.json of a run: the digests of the data that it started with."""

import json

import pytest

from hrec.pipeline.checkpoints import CheckpointError
from hrec.pipeline.fingerprint import refuse_other_data
from hrec.pipeline.records import RunFolder


@pytest.mark.parametrize("known", [{"epoch": "x"}, {}, {"values": "a"}, {"name": "x", "settings": {}}])
def test_a_file_without_a_digest_of_the_rows_is_damaged(tmp_path, known):
    (tmp_path / "data.json").write_text(json.dumps(known))
    with pytest.raises(CheckpointError, match=r"data\.json: is damaged"):
        refuse_other_data(RunFolder(tmp_path), {"digest": "a"})


def test_a_digest_of_the_rows_alone_is_enough(tmp_path):
    (tmp_path / "data.json").write_text(json.dumps({"digest": "a"}))
    refuse_other_data(RunFolder(tmp_path), {"digest": "a", "values": "b"})
    with pytest.raises(CheckpointError, match="other rows"):
        refuse_other_data(RunFolder(tmp_path), {"digest": "b"})
