"""Questions in SQL: the documented views, the check of a statement, and the process that answers it.

`named` holds the questions that come with Entrepôt; `images` finds images by platform, labels and annotations.
A question reads only; nothing here writes to the catalogue.
Leans on `lake` and `filters`.
"""
