"""Commands for a file of desired state: apply and export-config.

The file is read with the line of each value, checked whole, planned and applied through the functions that other commands
call. Its entries and the pure plan are in `catalog/desired_state/`, its scheduled deployments in `flows/schedules/`.
"""
