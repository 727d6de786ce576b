"""Databases for the state that many look up and change row by row: what is held, who may do what, what is to be sent.

Two engines behind one interface: SQLite, one file of one machine (the default), and PostgreSQL, shared by any number of machines.
Tenants write one SQL for both (`engine` says which). The rows of versions lie in the lake instead (`catalog.lake`).
"""
