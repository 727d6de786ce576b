"""Upload sessions of an installation on PostgreSQL: any replica takes any request of a session.

A request's bytes become one piece in the store that all replicas share, before they are acknowledged; `session_rows` records
the pieces and the state of the hash. The last request joins the pieces to the blob: in the store where it can, else by reading
them. A request leaves nothing on its replica. Leans on `catalog.blobs` and `catalog.database`.
"""
