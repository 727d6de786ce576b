"""The command `entrepot doctor`: checks of an installation, each bounded in time and independent of the others.

One module for what is on this machine, one for the catalogue and blobs, one for what is reached over the network. A check
returns findings; none repairs anything, and none shows a secret.
"""
