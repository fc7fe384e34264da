"""Writing a file whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from panel.errors import SetupError
from panel.files import write_atomic


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "page.html"
    write_atomic(path, "old")

    def refuse(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    for call in ("replace", "fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(f"panel.files.os.{call}", refuse)
            with pytest.raises(SetupError, match="No space left on device"):
                write_atomic(path, "new")
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]
    write_atomic(path, "new\r\n€")
    assert path.read_bytes() == "new\r\n€".encode()


def test_a_folder_that_is_a_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="Fix: choose a folder"):
        write_atomic(tmp_path / "file" / "page.html", "text")


@pytest.mark.skipif(os.name != "posix", reason="file modes")
def test_a_page_is_as_readable_as_the_umask_allows(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_atomic(tmp_path / "page.html", "text")
    finally:
        os.umask(before)
    assert (tmp_path / "page.html").stat().st_mode & 0o777 == 0o644
