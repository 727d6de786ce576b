"""Work on what is stored: garbage collection, scrub, reclaim, cache eviction, compaction, usage.

Deletes bytes that no version needs, finds damaged ones, and says what damage affects.
Deleting versions is in `catalog.versions.deletion`; what retention removes is planned in `catalog.retention`.
Leans on `blobs`, `distributions`, `lake` and `versions`.
"""
