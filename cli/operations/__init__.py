"""Commands that run a flow on content: sync, push, replicate, build, curate, promote, sign, export, import.

Each reads its options into the flow's form and prints the result.
Leans on `cli.flow_runs`; the flows are imported only when one is run.
"""
