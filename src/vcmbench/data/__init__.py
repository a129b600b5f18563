"""The data root: pictures, labels and colour on the way in; records, logs and the store on the way out.

Imports `io` and nothing above it. Pictures come from `dataset`, chosen by a `selection`; only `store` writes results.
"""
