"""Quotation marks that hold cells together, and those that are letters: no row is lost without a word."""

import pytest

from hrec.datasets import quotes
from hrec.datasets.reading import DataError

AUTHOR = {"author": {"type": "token", "source": "item_book"}}


def authors(files, content: str, name: str = "book.csv") -> list[str]:
    """What is read as the authors of the three books."""
    files.settings["item_feat_path"]["book"] = files.write(name, content)
    column = files.read(feat=AUTHOR).kinds["book"].columns["author"]
    return [str(column.values[code - 2]) for code in column.code]


def warnings(files) -> list[str]:
    return [line for line in files.said if "warning" in line and "quotation mark" in line]


@pytest.mark.parametrize(("ending", "cut"), [("csv", ","), ("tsv", "\t")])
def test_marks_inside_of_text_are_letters_and_each_line_is_a_row(files, ending, cut):
    rows = ["item_id|author|price", '0000031887|"weird al" x|1', 'b2|"heroes|2', 'b3|say "|"3"']
    text = "\n".join(rows).replace("|", cut) + "\n"
    assert authors(files, text, f"book.{ending}") == ['"weird al" x', '"heroes', 'say "']
    (line,) = warnings(files)
    assert f"book.{ending}, line 2: text goes on behind a closing quotation mark" in line


def test_a_cell_in_marks_as_a_whole_is_the_text_in_them_also_line_by_line(files):
    text = '"item_id","author"\n"0000031887","Ann ""X"""\nb2,"a" b\nb3,"Zed"\n'
    assert authors(files, text) == ['Ann "X"', '"a" b', "Zed"]


def test_messages_have_the_right_line_where_a_file_is_read_line_by_line(files):
    files.write("book.csv", 'item_id,author,price\n0000031887,"a" b,1\nb2,"c,2\nb3,d",dear\n')
    with pytest.raises(DataError, match=r"book.csv, line 4, column 'price': 'dear' is not a number"):
        files.read(feat=AUTHOR | {"price": {"type": "float", "source": "item_book"}})


def test_marks_in_cells_without_marks_around_change_nothing(files):
    assert authors(files, 'item_id,author\n0000031887,12" vinyl\nb2,"a, b"\nb3,say "x"\n') == [
        '12" vinyl',
        "a, b",
        'say "x"',
    ]
    assert warnings(files) == []


@pytest.mark.parametrize(("ending", "cut", "price"), [("csv", ",", ",1"), ("tsv", "\t", "")])
def test_marks_that_join_what_are_rows_by_themselves_are_refused(files, ending, cut, price):
    rows = ["item_id|author" + price.replace(",1", ",price"), "0000031887|x", 'b2|"y', 'b3|z"', "b4|w"]
    lines = [rows[0].replace("|", cut), *(row.replace("|", cut) + price for row in rows[1:])]
    if price:  # the mark has to close at the end of a cell
        lines[3] = 'b3,z",1'
    with pytest.raises(DataError, match=rf"book.{ending}, line 3: quotation marks join lines 3 to 4 into one row"):
        authors(files, "\n".join(lines) + "\n", f"book.{ending}")


def test_a_cell_of_several_lines_is_one_cell_and_is_said(files):
    text = 'item_id,author,country\n0000031887,"Ann\n\nLee",FR\nb2,"a\nb",FR\nb3,c,US\n'
    assert authors(files, text) == ["Ann\n\nLee", "a\nb", "c"]
    (line,) = warnings(files)
    assert "book.csv, line 2: quotation marks join lines 2 to 4 into one row (2 rows like it)" in line


def test_marks_that_fit_neither_way_are_refused_with_their_line(files):
    text = 'item_id,author\n0000031887,"a, b"\nb2,"c" d\nb3,e\n'
    with pytest.raises(DataError, match=r"book.csv, line 3: text goes on behind a closing quotation mark.*twice"):
        authors(files, text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a,b\n1,2\n", quotes.Marks()),
        ('"a","b"\r\n"1","x ""y"""\r\n', quotes.Marks()),
        ('a\n""\n""""\n"""x"""', quotes.Marks()),
        ('a,b\n"1\n2",3\n', quotes.Marks(((2, 3),))),
        ('a,b\r\n"1\r\n2",3\r\n', quotes.Marks(((2, 3),))),
        ('a,b\n1,"x" y\n', quotes.Marks(broken=2)),
        ('a,b\n1,"x\n2,y" z\n', quotes.Marks(broken=2)),
        ('a,b\n1,2\n3,"x\n', quotes.Marks(unclosed=3)),
        ('a,b\n"1" "2",3\n', quotes.Marks(broken=2)),
    ],
)
def test_find(text, found):
    assert quotes.find(text.encode(), ",") == found
