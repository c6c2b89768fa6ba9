"""The title catalogue: what is read of a CSV, and what happens when the file changes."""

import os

import pytest

from schemas.errors import ConfigError
from stream_app.catalogue import TITLES, WatchedCatalogue, read_titles, shipped_catalogue

HEADER = "show_id,type,title,director,cast,country,date_added,release_year,rating,duration,listed_in,description\n"


def written(path, *rows: str):
    path.write_text(HEADER + "".join(row + "\n" for row in rows), encoding="utf-8")
    return path


def test_the_shipped_catalogue_has_films_with_and_series_without_a_duration():
    titles = read_titles(shipped_catalogue())
    assert TITLES == titles.schema
    rows = titles.to_pylist()
    assert len(rows) == len({row["title_id"] for row in rows}) >= 250
    assert {"Movie", "TV Show"} == {row["content_type"] for row in rows}
    assert all((row["duration_s"] is not None) == (row["content_type"] == "Movie") for row in rows)


def test_a_row_is_split_and_typed(tmp_path):
    path = written(
        tmp_path / "t.csv",
        's1,Movie,"The Tide, Again",Ada Ruiz,,"Germany, France",2020,2019,PG-13,93 min,"Dramas, Thrillers",',
    )
    assert [
        {
            "title_id": "s1",
            "title": "The Tide, Again",
            "content_type": "Movie",
            "genres": ["Dramas", "Thrillers"],
            "release_year": 2019,
            "rating": "PG-13",
            "director": "Ada Ruiz",
            "duration_s": 5580.0,
            "content_countries": ["Germany", "France"],
        }
    ] == read_titles(path).to_pylist()


def test_the_first_of_repeated_ids_counts_and_empty_fields_are_null(tmp_path):
    path = written(
        tmp_path / "t.csv", "s1,,First,,,,,soon,,2 Seasons,,", "s1,Movie,Second,,,,,2000,,1 min,,", ",,No id,,,,,,,,,"
    )
    (row,) = read_titles(path).to_pylist()
    assert "First" == row["title"]
    assert [None] * 5 == [row[n] for n in ("content_type", "director", "release_year", "rating", "duration_s")]
    assert [] == row["genres"] == row["content_countries"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is not there"),
        (b"show_id,title\ns1,x\n", "lacks the columns type"),
        (HEADER.encode(), "holds no title"),
        (b"", "can't be read"),
        (HEADER.encode() + b"s1,Movie,\xff,,,,,,,,,\n", "can't be read"),
        (HEADER.encode() + b"s1,Movie\n", "can't be read"),
    ],
)
def test_a_file_that_is_no_catalogue_is_a_clear_error(tmp_path, content, message):
    path = tmp_path / "t.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        read_titles(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_changed_file_is_read_again_and_a_broken_one_keeps_the_former(tmp_path):
    path = written(tmp_path / "t.csv", "s1,Movie,One,,,,,2000,,1 min,,")
    catalogue = WatchedCatalogue(path)
    assert not catalogue.reload_if_changed()
    written(path, "s1,Movie,Other,,,,,2000,,1 min,,")
    os.utime(path, ns=(1, 1))
    assert catalogue.reload_if_changed()
    assert ["Other"] == catalogue.titles["title"].to_pylist()
    path.write_text("broken", encoding="utf-8")
    assert not catalogue.reload_if_changed()
    path.unlink()
    assert not catalogue.reload_if_changed()
    assert ["Other"] == catalogue.titles["title"].to_pylist()
