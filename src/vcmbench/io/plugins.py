"""What can be added as one file: found by its file's name, loaded alone, and named where it is faulty.

Encoders, metrics, tasks, kinds of task, sources of importance, resamplers and commands are such files. Ours lie in the
checkout or in the package; those of a user lie in `FOLDER/<what>/<name>.py`, where the environment's VCMBENCH_PLUGINS
names FOLDER (or several, separated as in PATH). They are programs, and run with the rights of the caller.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Generic, TypeVar

from vcmbench.errors import Cancelled, JobError, RequestError
from vcmbench.io.documents import short

VARIABLE = "VCMBENCH_PLUGINS"
NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")
"""A plugin's name is a Python module and a choice on the command line at once."""

_LOG_CHARACTERS = 4000
T = TypeVar("T")


def user_folders(what: str) -> list[Path]:
    """The folders of that name below those that VCMBENCH_PLUGINS names, absolute; in its order."""
    roots = [Path(root).resolve() for root in os.environ.get(VARIABLE, "").split(os.pathsep) if root]
    return [root / what for root in roots if (root / what).is_dir()]


def files(folder: Path) -> list[Path]:
    """The plugins of a folder, sorted. Files that begin with `_` are helpers of others."""
    return sorted(folder.glob("[!_]*.py"))


@dataclass
class Plugins(Generic[T]):
    """All plugins of one sort. `what` is their folder's name, `own` gives the folder that is ours, `package` is where
    its modules belong, and `take` makes of a module what is wanted, or raises RequestError."""

    what: str
    own: Callable[[], Path]
    package: str
    take: Callable[[ModuleType, str], T]
    name: re.Pattern[str] = NAME
    _known: dict[tuple[Path, ...], tuple[dict[str, T], dict[str, str]]] = field(default_factory=dict)

    def _all(self) -> tuple[dict[str, T], dict[str, str]]:
        folders = (self.own(), *user_folders(self.what))
        if folders not in self._known:
            found: dict[str, T] = {}
            faulty: dict[str, str] = {}
            for path in (path for folder in folders for path in files(folder)):
                try:
                    if path.stem in found:
                        raise RequestError(f"{path}: there is another {path.stem} already; give it another name")
                    found[path.stem] = self.load(path)
                except RequestError as error:
                    faulty[path.stem] = str(error)
            self._known[folders] = found, faulty
        return self._known[folders]

    def load(self, path: Path) -> T:
        """What one file holds. Raises RequestError that names the file, and the line where Python stumbled."""
        if not self.name.fullmatch(path.stem):
            raise RequestError(f"{path}: the file's name must match {self.name.pattern}")
        try:
            return self.take(_module(path, self.own(), self.package), path.stem)
        except RequestError as error:
            raise error if str(error).startswith(str(path)) else RequestError(f"{path}: {error}") from None
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a plugin may raise anything while it is imported, SystemExit too
            lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
            line = getattr(error, "lineno", None) or (lines or [0])[-1]
            raise RequestError(f"{path}, line {line}: {type(error).__name__}: {error}") from error

    def found(self) -> dict[str, T]:
        """Those that can be loaded, by name: ours first, in the order of their names."""
        return self._all()[0]

    def faults(self) -> dict[str, str]:
        """What is wrong with the files that cannot be loaded, by name."""
        return self._all()[1]

    def get(self, name: str) -> T:
        """The one of that name. Raises RequestError where there is none, or where its file is faulty."""
        found, faulty = self._all()
        if name in found:
            return found[name]
        one = self.what.removesuffix("s").replace("_", " ")
        if name in faulty:
            raise RequestError(f"{one} {name!r}: {faulty[name]}")
        raise RequestError(f"{one} {short(name)}: unknown; there are {' '.join(found)}")


@contextmanager
def only_its_job(what: str) -> Iterator[None]:
    """Whatever a plugin raises is a JobError that begins with `what`, so that jobs without it go on; SystemExit too,
    which would end the run where its future is asked."""
    try:
        yield
    except (JobError, Cancelled, KeyboardInterrupt):
        raise
    except RequestError as error:
        raise JobError(f"{what}: {error}") from None
    except BaseException as error:
        log = traceback.format_exc()[-_LOG_CHARACTERS:]
        raise JobError(f"{what}: {type(error).__name__}: {error}", log=log) from error


def _module(path: Path, own: Path, package: str) -> ModuleType:
    name = f"{package}.{path.stem}"
    if path.parent == own and importlib.util.find_spec(package.partition(".")[0]):
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise RequestError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickles look a class's module up
    spec.loader.exec_module(module)
    return module


def only_subclass(module: ModuleType, base: type[T]) -> type[T]:
    """The one class of a plugin's file that is a `base`. Raises RequestError where there are none or several."""
    own = (value for value in vars(module).values() if isinstance(value, type) and value.__module__ == module.__name__)
    classes = [value for value in own if issubclass(value, base)]
    if len(classes) != 1:
        raise RequestError(f"holds {len(classes)} subclasses of {base.__name__}, must hold one")
    found: type[T] = classes[0]
    return found
