"""Files, folders and git revisions as the two sides of a comparison."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from panel.assets import asset_folder
from panel.errors import SetupError
from panel.records import PERSONA_SLUGS
from panel.tuning.revisions import at_revision, committed, read_sides


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with our personas, `docs: 1.2` in the builder's first commit, 0.6 in its second, 0.3 on the disk."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    folder = tmp_path / "repo" / "personas"
    shutil.copytree(asset_folder("personas"), folder)
    builder = folder / "builder.md"
    git(tmp_path, "init", "-q", "repo")
    for old, new in ((None, None), ("docs: 1.2", "docs: 0.6")):
        if old and new:
            edit(builder, old, new)
        git(folder, "add", ".")
        git(folder, "commit", "-q", "-m", "x")
    edit(builder, "docs: 0.6", "docs: 0.3")
    monkeypatch.chdir(folder.parent)
    return folder


def docs(before: str, after: str | None, folder: Path) -> list[float]:
    return [side.personas["builder"].lens["docs"] for side in read_sides(before, after, folder)]


def test_every_way_to_name_a_side(folder: Path) -> None:
    builder = str(folder / "builder.md")
    assert docs("HEAD~1", "HEAD", folder) == [1.2, 0.6]
    assert docs("HEAD", None, folder) == [0.6, 0.3]
    assert docs("HEAD~1", builder, folder) == [1.2, 0.3]
    assert docs(builder, "HEAD", folder) == [0.3, 0.6]
    assert docs("HEAD~1:personas/builder.md", "HEAD:./personas/builder.md", folder) == [1.2, 0.6]
    assert docs(str(folder), str(asset_folder("personas")), folder) == [0.3, 1.2]
    assert docs("HEAD~1:personas/builder.md", str(folder), folder) == [1.2, 0.3]


def test_a_file_is_compared_alone_and_a_folder_whole(folder: Path) -> None:
    whole, _ = read_sides("HEAD", None, folder)
    assert tuple(whole.personas) == PERSONA_SLUGS
    alone, there = read_sides("HEAD", str(folder / "futurist.md"), folder)
    assert (list(alone.personas), list(there.personas)) == (["futurist"], ["futurist"])


def test_what_was_committed(folder: Path, tmp_path: Path) -> None:
    builder = folder / "builder.md"
    found = committed(builder)
    assert found is not None
    assert found.lens["docs"] == 0.6
    assert at_revision(builder, "HEAD~1").lens["docs"] == 1.2
    shutil.copy(builder, folder / "new.md")
    assert committed(folder / "new.md") is None
    (tmp_path / "out").mkdir()
    shutil.copy(builder, tmp_path / "out" / "builder.md")
    assert committed(tmp_path / "out" / "builder.md") is None  # no repository there


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nowhere", "'nowhere' is neither a file nor a revision"),
        ("--help", "'--help' is neither a file nor a revision"),
        ("--output=x:personas/builder.md", "neither a file nor a revision"),
        ("HEAD:personas/chef.md", "no such file at that revision"),
        ("HEAD:personas", "not a file"),
        (":personas/builder.md", "neither a file nor a revision"),
        ("x" * 5000, "neither a file nor a revision"),
    ],
)
def test_what_is_not_there_is_refused(folder: Path, name: str, says: str) -> None:
    with pytest.raises(SetupError, match=says):
        read_sides(name, None, folder)
    assert not list(folder.parent.glob("x*"))


def test_a_persona_that_was_broken_then_names_the_revision(folder: Path) -> None:
    edit(folder / "builder.md", "slug: builder", "slug: chef")
    git(folder, "commit", "-q", "-a", "-m", "broken")
    with pytest.raises(SetupError) as caught:
        read_sides("HEAD~1", "HEAD", folder)
    assert str(caught.value.path) == "HEAD:./builder.md"
    assert caught.value.field == "slug"
    assert committed(folder / "builder.md") is None


def test_a_huge_file_is_refused_unread(folder: Path) -> None:
    (folder / "builder.md").write_text("x" * (1 << 20) + "y", encoding="utf-8")
    git(folder, "commit", "-q", "-a", "-m", "huge")
    with pytest.raises(SetupError, match="larger than 1 MiB"):
        read_sides("HEAD", "HEAD~1", folder)


def test_two_personas_are_no_two_versions_of_one(folder: Path) -> None:
    with pytest.raises(SetupError, match="not two versions of one persona"):
        read_sides(str(folder / "builder.md"), str(folder / "futurist.md"), folder)


def test_outside_a_repository_a_revision_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    home = Path(shutil.copytree(asset_folder("personas"), tmp_path / "personas"))
    with pytest.raises(SetupError, match="no git repository") as caught:
        read_sides("HEAD", None, home)
    assert "two files" in caught.value.fix


def test_without_git_two_files_are_enough(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert docs(str(folder / "builder.md"), str(asset_folder("personas") / "builder.md"), folder) == [0.3, 1.2]
    with pytest.raises(SetupError, match="git cannot be asked"):
        read_sides("HEAD", None, folder)
