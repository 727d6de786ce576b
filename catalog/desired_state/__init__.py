"""Desired state: the entries of a configuration file, and the plan that brings an installation there.

Here are the entries of such a file, today's state as the same entries, the pure plan, and the record of what an earlier apply
made. Reading the file, asking and doing live in `cli/configuration/`; scheduled deployments in `flows/schedules/`.
"""
