"""Importance computed from labels, distance and speed."""

from pathlib import Path
from typing import get_args

from vcmbench.data.dataset import DataRoot, Source
from vcmbench.importance.classes import Named
from vcmbench.importance.compute import read_importance
from vcmbench.importance.inputs import files_of, inputs_digest
from vcmbench.importance.settings import ImportanceSettings
from vcmbench.importance.source import PixelImportance, SourceOfImportance


class LabelsSource(SourceOfImportance[ImportanceSettings]):
    needs_labels = True
    settings = ImportanceSettings
    has_whole_digest = True
    paths = ("classes",)
    words = get_args(Named)

    def digest(self, data: DataRoot, source: Source, settings: ImportanceSettings) -> str:
        return inputs_digest(data, source, settings)

    def main_file(self, data: DataRoot, source: Source) -> Path:
        return files_of(data, source).labels

    def lacking(self, data: DataRoot, source: Source, settings: ImportanceSettings) -> Path | None:
        files = files_of(data, source)
        needed = [files.labels]
        if settings.use_distance:
            needed += [files.disparity] if settings.aggregate == "class" else [files.disparity, files.instances]
        return next((path for path in needed if not path.is_file()), None)

    def read(self, data: DataRoot, source: Source, settings: ImportanceSettings) -> PixelImportance:
        found = read_importance(data, source, settings)
        return PixelImportance(found.values, found.notes)

    def describe(self, tag: str) -> str:
        return f"computed from labels, {tag or 'by the default settings'}"
