"""What score records say together: tables, correlations, curves, BD-rates, and their intervals.

`run` is where it begins. Imports `measure` and below.
"""
