"""Wished-for state: what a configuration file asks of this installation, and the plan that follows from it.

Here are the entries of such a file, today's state as the same entries, the pure plan, and the record of what an earlier apply
made. Reading the file, asking and doing live in `cli/configuration/`; scheduled deployments in `flows/schedules/`.
"""
