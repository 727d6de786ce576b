"""The vocabulary of OCI content and the wire that carries it.

Digests, references, descriptors, manifests, image layouts, the one graph copy, and the one tree of errors.
No state of this installation and no Prefect: a program could use this room alone.
Leans on no other room.
"""
