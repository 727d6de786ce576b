"""Deployments that a configuration file declares: a flow with parameters of its own, on schedules of its own.

Here they are read from Prefect, written and deleted. The deployments that come with us are of `flows/orchestration/`; which
are wished for, and the plan, are of `catalog/desired_state/` and `cli/configuration/`.
"""
