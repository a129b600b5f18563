"""The order of rooms: each imports only what lies below it, and no module imports itself around a corner.

Imports inside functions and under TYPE_CHECKING count like all others.
"""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import vcmbench

PACKAGE = Path(vcmbench.__file__).parent
FLOORS = (
    {"errors"}, {"io"}, {"data"}, {"importance"}, {"encoder"}, {"execution"}, {"tasks", "iqa"}, {"experiment"},
    {"compress"}, {"measure"}, {"analysis"}, {"report"}, {"demo"}, {"cli"},
)  # fmt: skip
"""From the ground up; rooms of one floor do not know each other."""
MOST_ENTRIES, MOST_LINES = 15, 350


def module_of(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_of(file): file for file in sorted(PACKAGE.rglob("*.py"))}
TREES = {module: ast.parse(file.read_text(encoding="utf-8")) for module, file in FILES.items()}


def imported(module: str) -> set[str]:
    """The modules of the package that one imports, a package's face where a name is taken from it."""
    found = set()
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in FILES}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}, line {node.lineno}: a relative import; write vcmbench's full names"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (names & FILES.keys()) | ({str(node.module)} & FILES.keys() if names - FILES.keys() else set())
    return found - {module}


IMPORTS = {module: imported(module) for module in FILES}


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


@pytest.mark.parametrize("floor", range(len(FLOORS)), ids=[" and ".join(sorted(rooms)) for rooms in FLOORS])
def test_a_room_imports_only_what_lies_below_it(floor: int) -> None:
    below = set().union(*FLOORS[:floor])
    for room in FLOORS[floor]:
        wrong = [f"{module} imports {other}" for module in FILES if room_of(module) == room
                 for other in sorted(IMPORTS[module]) if room_of(other) not in below | {room, ""}]  # fmt: skip
        assert not wrong, f"{room} is below these rooms; move what both need down, or the caller up: {wrong}"


def test_every_entry_is_a_room_and_they_are_few() -> None:
    entries = {path.stem for path in PACKAGE.iterdir() if path.name not in ("__pycache__", "bundled", "py.typed")}
    assert entries - {"__init__", "__main__"} == set().union(*FLOORS)
    assert len(set().union(*FLOORS)) <= MOST_ENTRIES


def test_no_module_imports_itself_around_a_corner() -> None:
    # a package's face only hands names of its own modules on
    graph = {module: {other for other in found
                      if not (FILES[module].name == "__init__.py" and other.startswith(f"{module}."))}
             for module, found in IMPORTS.items()}  # fmt: skip
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}; an import inside a function does not break it")


HEAVY = {
    "torch", "torchvision", "mmengine", "mmseg", "timm", "piq", "piqa", "scipy", "matplotlib", "skimage", "distributed",
    "transformers", "dask", "docker", "requests", "pyarrow", "jpeglib", "safetensors", "yaml", "tqdm", "imageio_ffmpeg",
    "bjontegaard", "cv2", "onnx", "onnx2torch", "onnxruntime", "pycocotools",
}  # fmt: skip
"""What takes long to load, or need not be there: what only some commands use of it is imported where it is used."""
NOT_EVERYWHERE = {"resource"}  # of the standard library


def imported_late(module: str) -> list[tuple[int, str]]:
    """Line and name of what is imported inside functions."""
    found = []
    for function in (node for node in ast.walk(TREES[module]) if isinstance(node, ast.FunctionDef)):
        for node in ast.walk(function):
            if isinstance(node, ast.Import):
                found += [(node.lineno, alias.name) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
    return found


def loads_heavy(module: str, seen: set[str]) -> bool:
    """Whether importing a module of ours loads a heavy library."""
    if module in seen:
        return False
    seen.add(module)
    tops = [node for node in TREES[module].body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in tops if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in tops if isinstance(node, ast.ImportFrom)}
    return bool({name.split(".")[0] for name in names} & HEAVY) or any(
        loads_heavy(other, seen) for other in IMPORTS[module]
    )


def test_only_what_is_heavy_is_imported_inside_a_function() -> None:
    wrong = []
    for module in FILES:
        for line, name in imported_late(module):
            root = name.split(".")[0]
            ours = next((one for one in (name, name.rpartition(".")[0]) if one in FILES), None)
            if root not in HEAVY | NOT_EVERYWHERE and not (ours and loads_heavy(ours, set())):
                wrong.append(f"{module}, line {line}: {name}")
    assert not wrong, f"import these at the top of the module: {wrong}"


_STARTS = {"system", "popen", "fork", "forkpty", "posix_spawn", "posix_spawnp"}


def test_only_runners_start_processes() -> None:
    """Pools of our own functions, which `multiprocessing` spawns, are no tools."""
    wrong = []
    for module, tree in TREES.items():
        if module.startswith("vcmbench.execution.runner"):
            continue
        for node in ast.walk(tree):
            names = {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
            if isinstance(node, ast.ImportFrom):
                names = {str(node.module)}
            called = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os"
            starts = called and (node.attr in _STARTS or node.attr.startswith(("exec", "spawn")))
            if starts or any(name.split(".")[0] in ("subprocess", "pty") for name in names):
                wrong.append(f"{module}, line {node.lineno}")
    assert not wrong, f"processes are started by execution/runner alone: {wrong}"


def test_streetscenes_stands_alone() -> None:
    for file in (PACKAGE.parent / "streetscenes").rglob("*.py"):
        assert "vcmbench" not in {name.split(".")[0] for name in _roots(file)}, f"{file} imports vcmbench"


def _roots(file: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return plain | {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}


def test_every_room_says_what_lives_there() -> None:
    for module, file in FILES.items():
        if file.name == "__init__.py" and module.count(".") == 1:
            text = ast.get_docstring(TREES[module]) or ""
            assert len(text) > 60, f"{file}: its docstring says what lives there and what it imports"


def test_a_class_name_means_one_thing() -> None:
    where = defaultdict(list)
    for module, tree in TREES.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                where[node.name].append(module)
    assert not {name: modules for name, modules in where.items() if len(modules) > 1}


def test_a_module_is_one_idea() -> None:
    lines = Counter({module: len(file.read_text(encoding="utf-8").splitlines()) for module, file in FILES.items()})
    assert not [(module, count) for module, count in lines.most_common() if count > MOST_LINES]
