"""A copy between two other places, registries or image layouts, of which nothing stays here. It is no flow of Prefect's.

Selected, Compared, Copied, Tagged, as a push: `procedure` runs them. `ends` opens both places; `narrowed` leaves out platforms.
Leans on `push` for the target, on `sync` for the source, on `runs` and `forms`.
"""
