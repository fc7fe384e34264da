from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from panel.desk import DeskStore
from tests.desk import state


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """A folder with one finished comparison, which nothing stands against."""
    folder = tmp_path / "outputs"
    state.put_example(folder)
    return folder


@pytest.fixture
def store(outputs: Path) -> Iterator[DeskStore]:
    made = DeskStore(outputs, clock=state.clock())
    made.sync()
    yield made
    made.close()
