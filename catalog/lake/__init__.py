"""DuckLake: the connection, the tables with their migrations, and the single writer.

`commit_counter` tells other processes that something was committed; `snapshot_log` tells them what.
What the rows mean is known to the packages that write them.
"""
