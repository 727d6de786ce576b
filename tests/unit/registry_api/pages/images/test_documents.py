"""What is kept of documents counts for about what it takes."""

from catalog.content.documents import ImageDocuments
from registry_api.pages.images.documents import size_in_memory


def test_versions_of_one_package_count_as_names_do() -> None:
    many = ImageDocuments({"zlib": frozenset(f"1.{n}" for n in range(10_000))}, 1, (), is_cut=False)
    long = ImageDocuments({"z" * 1_000_000: frozenset()}, 1, (), is_cut=False)
    none = size_in_memory(ImageDocuments(None, 0, (), is_cut=False))
    assert size_in_memory(many) - none > 1_000_000
    assert size_in_memory(long) - none > 1_000_000
