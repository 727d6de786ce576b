"""What operators run: one package for each operation, as a Prefect flow with its form.

`runs` and `forms` hold what operations share; `engine` and `direct` run flows; `orchestration` runs Prefect itself.
Rules about content are in `catalog`; commands are in `cli`.
Leans on `catalog` and `oci`.
"""
