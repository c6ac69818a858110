"""Files that were joined end to end."""

import pandas as pd
import pytest

from hrec.datasets.reading import DataError

BOM = "\ufeff"
HEADER = "user_id,item_id,label,rating,timestamp"


def users(files) -> list[str]:
    return files.read(user_feat_path=None, item_feat_path=None, feat={}).users.ids.tolist()


@pytest.mark.parametrize("mark", ["", BOM])
def test_a_header_in_the_middle_is_no_row(files, mark):
    text = (files.folder / "rates.csv").read_text()
    files.write("rates.csv", text + f"{mark}{HEADER}\nu4,b2,1,5,9\n{mark}{HEADER}\nu5,b2,1,5,9\n")
    assert users(files) == ["u1", "u2", "u3", "u4", "u5"]
    assert any("rates.csv, line 8: the header stands here again; 2 rows left out" in line for line in files.said)


@pytest.mark.parametrize("header", [HEADER.replace(",", ", "), f" {HEADER} ", HEADER.upper()])
def test_blanks_and_case_make_no_row_of_a_header_in_the_middle(files, header):
    text = (files.folder / "rates.csv").read_text()
    files.write("rates.csv", text + f"{header}\nu4,b2,1,5,9\n")
    assert users(files) == ["u1", "u2", "u3", "u4"]
    text = (files.folder / "users.csv").read_text()
    files.write("users.csv", text + "User_ID, City,age\nu4,Bonn,3\n")
    assert files.read().users.ids.tolist() == ["u1", "u2", "u3", "u4"]


def test_a_header_in_the_middle_of_an_atomic_file_is_no_row(files):
    header, rows = "user_id:token\titem_id:token\tlabel:float\n", "u1\tb2\t1\nu1\tb3\t0\n"
    path = files.write("rates.inter", header + rows + header + rows.replace("u1", "u2"))
    data = files.read(inter_feat_path=path, user_feat_path=None, item_feat_path=None, feat={})
    assert data.users.ids.tolist() == ["u1", "u2"] and len(data.interactions) == 4


def test_byte_order_marks_at_the_start_of_lines_are_no_text(files):
    text = (files.folder / "rates.csv").read_text()
    files.write("rates.csv", BOM + BOM + text + f'{BOM}"u1",b3,0,5,9\r\n{BOM}u2,b3,1,5,9\n')
    assert users(files) == ["u1", "u2", "u3"]


def test_a_header_in_the_middle_of_a_parquet_file_is_no_row(files):
    path = files.folder / "rates.parquet"
    header = {name: [name] for name in HEADER.split(",")}
    one = pd.read_csv(files.folder / "rates.csv", dtype=str)
    pd.concat([one, pd.DataFrame(header)]).to_parquet(path)
    files.settings["inter_feat_path"] = str(path)
    assert users(files) == ["u1", "u2", "u3"]


@pytest.mark.parametrize("header", ["item_id,user_id,label,rating,timestamp", "user_id,item_id,label,stars,timestamp"])
@pytest.mark.parametrize("drop", [True, False])
def test_a_header_of_other_columns_in_the_middle_is_refused(files, header, drop):
    text = (files.folder / "rates.csv").read_text()
    files.write("rates.csv", text + f"{header}\nb2,u4,1,5,9\n")
    with pytest.raises(
        DataError, match=r"rates.csv, line 8: a second header, whose columns are not those of the first"
    ):
        files.read(drop_bad_rows=drop)


def test_a_category_that_is_called_as_its_column_is_a_row(files):
    files.spoil("users.csv", "u2,,", "u2,city,")
    column = files.read().users.columns["city"]
    assert "city" in column.values
