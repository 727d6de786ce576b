"""What every flow run needs: the open catalogue, an operation's commit, upstream slots, progress, result tables.

`plan_items` is the one line of a plan that all operations share.
Nothing here knows a particular flow.
Leans on `engine` and `console`, on `catalog` and `oci`.
"""
