"""What an export says when nothing of what was selected may go into the bundle."""

import pytest

from catalog.bundles.format import Contents
from catalog.bundles.writer import Export
from flows.bundles.export_flow import check_chosen
from oci.errors import InvalidInput


@pytest.mark.parametrize(("count", "ends"), [(5, "app:4: too old"), (7, "… and 2 more")])
def test_tags_that_are_not_named_are_counted(count: int, ends: str) -> None:
    dropped = {f"app:{number}": "too old" for number in range(count)}
    with pytest.raises(InvalidInput) as caught:
        check_chosen(Export(Contents((), {}), {}, dropped))
    assert str(caught.value).endswith(ends)
