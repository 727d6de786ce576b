"""Documents about images: bills of materials (SPDX, CycloneDX) and provenance (SLSA), parsed as texts of strangers.

Pure, and bounded whatever the documents say. `content` finds documents and reads them by right.
Leans on nothing.
"""
