"""What is kept of a lake's files on S3."""

import pytest

from sink import s3_files
from sink.s3_files import DataFiles


def test_small_files_are_kept_up_to_a_bound_the_last_used_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_files, "_KEPT", 10)
    asked: list[str] = []
    files = DataFiles(skip_instance_cache=True)
    monkeypatch.setattr(files, "info", lambda path: {"size": 4})
    monkeypatch.setattr(files, "cat_file", lambda path: asked.append(path) or path[-1:].encode() * 4)
    for name in "abaca":
        with files.open(f"s3://bucket/{name}") as file:
            assert name.encode() * 4 == file.read()
    assert ["a", "b", "c"] == [path[-1] for path in asked]
    with files.open("s3://bucket/b") as file:
        file.read()
    assert "b" == asked[-1][-1] and 4 == len(asked), "it went when c came, since a had been used after it"
    files.forget()
    with files.open("s3://bucket/a") as file:
        file.read()
    assert 5 == len(asked)
