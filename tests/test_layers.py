"""Imports run downward only. The table is the one of the design; where it says more, the reason stands beside it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: From the bottom up. Modules of one layer do not import each other; a package (`engines`) is one module here.
LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"errors"}),
    # what travels between the stops, how files are read and written, and which words are boasts
    frozenset({"records", "requests", "assets", "files", "inputs", "boasts"}),
    # one thing each, no model
    frozenset({"dossier", "personas", "prompts", "grounding", "screen", "decide", "store", "pages"}),
    # four that are no more than an application of one below: validation and the pricing read need to know what a
    # dossier names and how it writes a price (`grounding`), rendering fills the templates of `pages`, a case with gold
    # is a dossier with what people think of it
    frozenset({"validate", "merge", "render", "gold"}),
    # the model, and how what it says becomes a probability: fitted on cases with `gold`, in the sums of `decide`
    frozenset({"weigh", "draft", "engines", "calibrate"}),
    frozenset({"reviewer", "distinct"}),
    frozenset({"run"}),
    # the editors' desk; and what a persona's words do to verdicts: runs it on cases, and changes it
    frozenset({"desk", "tuning"}),
    frozenset({"cli"}),
)
HEIGHT = {name: height for height, layer in enumerate(LAYERS) for name in layer}

#: Only the engines run a model or speak to the network.
ENGINES_ONLY = {
    "openvino", "openvino_genai", "torch", "transformers", "gguf", "huggingface_hub", "safetensors", "tokenizers",
    "llguidance", "nncf", "torchao", "requests", "httpx", "httpx2", "aiohttp", "urllib3", "http", "socket",
}  # fmt: skip
REVIEWER_ONLY = {"smolagents"}
#: Never when a module is loaded: `review-panel --help` shall be instant.
LATE = {"openvino", "openvino_genai", "torch", "transformers", "smolagents", "gguf", "huggingface_hub", "jinja2",
        "sklearn", "scipy", "statsmodels", "krippendorff", "peft", "nncf", "torchao", "httpx2",
        "llguidance"}  # fmt: skip
#: Modules that extend a class of such a package: whoever needs one imports it inside a function.
ADAPTERS = {"panel.engines.torch_blocks"}


@dataclass(frozen=True)
class Import:
    """`importer` (`panel.engines.hub`) imports `imported`; `late` where that happens in a function."""

    importer: str
    imported: str
    late: bool
    line: int

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"


def modules(root: Path) -> dict[str, Path]:
    """Every module of `panel` and `evals` under `root`, by its dotted name."""
    found = {}
    for top in ("panel", "evals"):
        for path in sorted((root / top).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(root: Path) -> list[Import]:
    known = modules(root)
    return [
        Import(name, imported, late, line)
        for name, path in known.items()
        for imported, late, line in _imports(ast.parse(path.read_text(encoding="utf-8")), name, path, known)
    ]


def _imports(
    tree: ast.AST, name: str, path: Path, known: dict[str, Path], late: bool = False
) -> Iterator[tuple[str, bool, int]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, late, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *(node.module.split(".") if node.module else [])])
            for alias in node.names:
                # `from panel import run` imports the module panel.run
                whole = f"{module}.{alias.name}"
                yield (whole if whole in known else module), late, node.lineno
        else:
            # import_module("evals.cli") is an import too
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__"):
                told = node.args[0] if node.args else None
                named = told.value if isinstance(told, ast.Constant) else "?"
                yield str(named), late, node.lineno
            function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            typing = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            yield from _imports(node, name, path, known, late or function or typing)


def part(module: str) -> str:
    """`engines` for `panel.engines.hub`; "" for `panel` itself."""
    return module.split(".")[1] if "." in module else ""


def problems(root: Path) -> list[str]:
    """Every import that runs the wrong way."""
    found = []
    everything = imports(root)
    for module in modules(root):
        if module.startswith("panel.") and part(module) not in HEIGHT:
            found.append(f"{module} is in no layer: say in this test where it belongs")
    for one in everything:
        top, target = one.importer.split(".")[0], one.imported.split(".")[0]
        here, there = part(one.importer), part(one.imported)
        # `eval` and `bench` find the measurements where there is a checkout; nothing else may know that they exist
        mounted = one.importer == "panel.cli.measurements" and one.late
        if target == "evals" and top == "panel" and not mounted:
            found.append(f"{one}: panel must not know evals")
        if top == target == "panel" and here != there and HEIGHT.get(there, -1) >= HEIGHT.get(here, -1):
            found.append(f"{one}: not downward")
        if top == "panel" and target in ENGINES_ONLY and here != "engines":
            found.append(f"{one}: only panel.engines may")
        if top == "panel" and one.imported in ("urllib.request", "urllib.error") and here != "engines":
            found.append(f"{one}: only panel.engines may")
        if top == "panel" and target in REVIEWER_ONLY and here != "reviewer":
            found.append(f"{one}: only panel.reviewer may")
        # these extend classes of a heavy package, and are themselves loaded late
        adapts = (target == "smolagents" and here == "reviewer") or one.importer in ADAPTERS
        if (target in LATE or one.imported in ADAPTERS) and not one.late and not adapts:
            found.append(f"{one} when it is loaded: import it inside a function")
    return found + _cycles(everything)


def _cycles(everything: list[Import]) -> list[str]:
    """Circles of modules, also within a package and also through functions."""
    edges: dict[str, set[str]] = {}
    for one in everything:
        # a package's front (`panel.cli`) that imports its parts, which import one another by its name, is no circle
        if one.imported.split(".")[0] in ("panel", "evals") and one.importer != one.imported:
            edges.setdefault(one.importer, set()).add(one.imported)
    found, done = [], set()

    def visit(module: str, way: list[str]) -> None:
        if module in way:
            found.append("a circle: " + " → ".join([*way[way.index(module) :], module]))
        elif module not in done:
            for target in sorted(edges.get(module, ())):
                visit(target, [*way, module])
            done.add(module)

    for module in sorted(edges):
        visit(module, [])
    return found


# ------------------------------------------------------------------------------------------------- this repository


def test_imports_run_downward_only() -> None:
    assert problems(ROOT) == []


def test_the_table_names_what_there_is() -> None:
    """A layer of modules that are gone would be a lie, and an empty walk would prove nothing."""
    present = {part(module) for module in modules(ROOT) if module.startswith("panel.")}
    assert set(HEIGHT) == present
    assert len(imports(ROOT)) > 200
    assert any(one.late and one.imported == "openvino" for one in imports(ROOT))


# ------------------------------------------------------------------------------------------- and the test of the test


@pytest.mark.parametrize(
    ("path", "source", "says"),
    [
        ("panel/records.py", "from panel.run import compare", "not downward"),
        ("panel/records.py", "def f():\n    from panel import run", "panel.records:2 imports panel.run: not downward"),
        ("panel/weigh.py", "from panel.draft import draft_beats", "not downward"),
        ("panel/weigh.py", "from . import draft", "panel.weigh:1 imports panel.draft: not downward"),
        ("panel/engines/hub.py", "from ..reviewer import run_review", "imports panel.reviewer: not downward"),
        ("panel/decide.py", "import panel.render", "not downward"),
        ("panel/screen.py", "from panel.weigh import weigh", "not downward"),
        ("panel/gold.py", "from panel.calibrate import fit", "not downward"),
        ("panel/calibrate.py", "from panel.weigh import weigh", "not downward"),
        ("panel/calibrate.py", "from sklearn.linear_model import LogisticRegression", "when it is loaded"),
        ("panel/novelty.py", "", "panel.novelty is in no layer"),
        ("panel/run.py", "import evals.gold", "panel must not know evals"),
        ("panel/run.py", "from evals import gold", "panel must not know evals"),
        ("panel/run.py", "import importlib\nimportlib.import_module('evals.cli')", "panel must not know evals"),
        ("panel/run.py", "def f():\n    import_module('evals.gold')", "panel must not know evals"),
        ("panel/run.py", "def f():\n    import_module('torch')", "only panel.engines may"),
        ("panel/weigh.py", "def f():\n    import torch", "only panel.engines may"),
        ("panel/store.py", "import urllib.request", "only panel.engines may"),
        ("panel/store.py", "import http.client", "only panel.engines may"),
        ("panel/run.py", "def f():\n    from smolagents import Tool", "only panel.reviewer may"),
        ("panel/engines/hub.py", "import smolagents", "only panel.reviewer may"),
        ("panel/engines/hub.py", "import huggingface_hub", "when it is loaded"),
        (
            "panel/prompts.py",
            "try:\n    from jinja2 import Environment\nexcept ImportError:\n    pass",
            "when it is loaded",
        ),
        ("panel/engines/hub.py", "class A:\n    from torch import nn", "when it is loaded"),
        ("evals/gold.py", "import torch", "when it is loaded"),
        ("panel/engines/hub.py", "def f():\n    from panel.engines.codec import Codec", "a circle"),
        ("panel/engines/codec.py", "def f():\n    import panel.engines.codec2", ""),
    ],
)
def test_an_import_that_runs_the_wrong_way_is_found(tmp_path: Path, path: str, source: str, says: str) -> None:
    for name in (
        "records",
        "draft",
        "decide",
        "render",
        "run",
        "weigh",
        "store",
        "prompts",
        "engines/hub",
        "reviewer/agent",
    ):
        file = tmp_path / "panel" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")
    for package in ("panel/__init__.py", "panel/engines/__init__.py", "panel/reviewer/__init__.py", "evals/gold.py"):
        (tmp_path / package).parent.mkdir(exist_ok=True)
        (tmp_path / package).write_text("")
    (tmp_path / "panel" / "engines" / "codec.py").write_text("from panel.engines.hub import resolve_model")
    (tmp_path / "panel" / "run.py").write_text("import panel.records\nfrom panel.engines import hub\nimport typing")
    assert problems(tmp_path) == []
    (tmp_path / path).write_text(source)
    found = problems(tmp_path)
    assert any(says in problem for problem in found) if says else found == []
