"""Entrepôt in Prefect's console: forms of flows, names of runs, links, charts, events, blocks and automations.

What a flow does is in that flow's package; what Prefect runs as is in `orchestration`.
Leans on `forms`.
"""
