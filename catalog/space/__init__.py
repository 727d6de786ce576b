"""Space: what repositories take, what they share, and what the commands that free space would free; computed when somebody asks.

The last report is kept, for all processes of the installation, since computing it looks at all changes.
Leans on `catalog`, `content`, `retention` and `state`.
"""
