"""A run of an experiment's coding configurations over a data root: jobs, their keys, and how one is done.

`run` is where it begins; `encode_job` does one job; `allocation` decides which encode of a job with a map or a rate is
kept; `forecast` says what it will take. Knows no machine task and no quality metric. Imports `experiment` and below.
"""
