"""The command `entrepot`.

`main` assembles the commands; options, output, exit codes and the run of a flow are shared by all.
Nothing here decides about content, and no module imports Prefect when it is imported.
Leans on `flows`, `catalog` and `oci`.
"""
