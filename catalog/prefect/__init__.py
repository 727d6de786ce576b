"""What this installation knows of its Prefect server: where it answers, and how it keeps the parameters of runs.

Nothing here imports Prefect: the registry asks its API over HTTP, and the flows do the rest.
"""
