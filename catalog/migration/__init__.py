"""Moving an installation's catalogue between SQLite files and PostgreSQL: all of it, compared, while pulls go on.

`migration` has the steps, `ends` the two places, `lake_copy` DuckLake's bookkeeping and files, `row_copy` the other tables.
"""
