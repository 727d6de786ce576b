"""SBOMs under /api/v1, read by the rights and the gates of pulls: those of an image, its packages, and packages of all paths.

Who may pull from a path sees what it serves, and nothing else; `pulled_images` is where that is decided.
They are attached by pushes. Leans on `catalog.content.sboms` and `catalog.query`, as the commands do.
"""
