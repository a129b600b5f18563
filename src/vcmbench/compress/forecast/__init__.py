"""What an experiment will take, roughly, before it is run: time, storage, and how many workers are of use.

`figures` says what one job takes, by rough figures and by records; `prediction` sums up and schedules; `accounts` keeps
a plan and holds runs against it. Nothing of it is in a job's key.
"""

from vcmbench.compress.forecast.accounts import FILE, compare, keep
from vcmbench.compress.forecast.prediction import Measuring, PlanRequest, Prediction, Step, ask

__all__ = ["FILE", "Measuring", "PlanRequest", "Prediction", "Step", "ask", "compare", "keep"]
