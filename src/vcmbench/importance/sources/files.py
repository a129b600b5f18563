"""Maps that lie in files: DATA/importance_map/<name>_importance.npy."""

from pathlib import Path

from vcmbench.data.dataset import DataRoot, Source
from vcmbench.errors import JobError, RequestError
from vcmbench.importance.inputs import FOLDER, importance_path
from vcmbench.importance.qp_map import load_importance
from vcmbench.importance.settings import ImportanceSettings
from vcmbench.importance.source import PixelImportance, SourceOfImportance


class FilesSource(SourceOfImportance[ImportanceSettings]):
    settings = ImportanceSettings  # those of labels, by which such maps are made; they stand in keys of jobs as before
    has_whole_digest = True

    def digest(self, data: DataRoot, source: Source, settings: ImportanceSettings) -> str:
        try:
            return Source(source.name, importance_path(data, source)).sha256()
        except OSError:  # what lies there and is no map is reported when it is read
            return "missing"

    def main_file(self, data: DataRoot, source: Source) -> Path:
        return importance_path(data, source)

    def read(self, data: DataRoot, source: Source, settings: ImportanceSettings) -> PixelImportance:
        try:
            return PixelImportance(load_importance(importance_path(data, source)))
        except RequestError as error:
            raise JobError(str(error)) from None

    def describe(self, tag: str) -> str:
        return f"maps that lie in DATA/{FOLDER}"
