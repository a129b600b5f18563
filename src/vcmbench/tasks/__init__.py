"""Machine tasks: networks that look at pictures, and what they see.

    settings = TaskSettings(name="segmentation", model="demo")
    with open_task(settings, runner="auto", gpu="auto", jobs=2) as task:
        labels = task.predict([rgb])[0]

A new task is one file here with one subclass of `base.LocalTask`; its file's name is the task's name.
"""

from __future__ import annotations

from vcmbench.tasks.base import Device, LocalTask, Prepared, Task, TaskSettings, discover, get
from vcmbench.tasks.opening import missing_packages, open_task

__all__ = [
    "Device",
    "LocalTask",
    "Prepared",
    "Task",
    "TaskSettings",
    "discover",
    "get",
    "missing_packages",
    "open_task",
]
