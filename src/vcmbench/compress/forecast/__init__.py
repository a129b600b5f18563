"""A simulation to plan by: what an experiment will take, before it is run, and how far off that was.

`figures` says what one job's tools take, `builtin` the rest; `grid` has all jobs, `schedule` carries the schedule out;
`prediction` sums up, and `accounts` holds it against what runs took.
"""

from vcmbench.compress.forecast.accounts import FILE, accounts, compare, keep, recall
from vcmbench.compress.forecast.prediction import Prediction, Step

__all__ = ["FILE", "Prediction", "Step", "accounts", "compare", "keep", "recall"]
