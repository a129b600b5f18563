"""`runner` finds tools and runs their commands; `engine` has jobs done by threads, processes or a cluster.

Only runners start processes; only `engine` knows Dask. Imports `encoder` and below.
"""
