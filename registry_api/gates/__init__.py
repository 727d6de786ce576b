"""Gates on the way of a pull: what a path serves now, once the rules of the catalogue's gates are applied.

`gates` keeps one view for each path that a rule is about, and makes it anew when content or a rule changes, or time changes a
verdict. Without any rule a pull asks one attribute. What the rules say is decided in `catalog.holds` and its like.
Leans on `http`.
"""
