"""Tiny files in the published layout, to be read as they are or spoilt."""

from pathlib import Path

import pytest

from hrec.datasets.reading import read
from hrec.datasets.recdata import RecData
from hrec.settings import DataSettings

USERS = """user_id,city,age
u1,Paris,31
u2,,
u3,Rome,45
"""
BOOKS = """item_id,author,genres,price
0000031887,Ann,Drama|Crime,9.5
b2,Bob,,
b3,Ann,Crime,3
"""
MUSIC = """item_id,performer,price
m1,Zed,1
m2,,2
"""
RATES = """user_id,item_id,label,rating,timestamp
u1,0000031887,1,5,100
u1,m1,0,2,200
u2,b2,0,1,300
u3,b3,1,4,150
u3,m2,1,5,50
u2,0000031887,1,4,400
"""
FEAT = {
    "user_id": {"type": "token", "source": "user"},
    "item_id": {"type": "token", "source": "item"},
    "city": {"type": "token", "source": "user"},
    "age": {"type": "float", "source": "user"},
    "author": {"type": "token", "source": "item_book"},
    "genres": {"type": "token_seq", "source": "item_book"},
    "performer": {"type": "token", "source": "item_music"},
    "price": {"type": "float", "source": "item"},
}


class Files:
    """A folder with one data set, the settings that describe it, and what the reader said in the log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said: list[str] = []
        self.settings: dict = {
            "name": "tiny",
            "user_feat_path": self.write("users.csv", USERS),
            "inter_feat_path": self.write("rates.csv", RATES),
            "item_feat_path": {"book": self.write("book.csv", BOOKS), "music": self.write("music.csv", MUSIC)},
            "feat": dict(FEAT),
        }

    def write(self, name: str, content: str | bytes) -> str:
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    def spoil(self, name: str, old: str, new: str) -> None:
        path = self.folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def read(self, cache: Path | None = None, **changes: object) -> RecData:
        return read(DataSettings.model_validate(self.settings | changes), cache, self.said.append)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)
