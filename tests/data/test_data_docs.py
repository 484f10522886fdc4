import re
from pathlib import Path

from data.schema import ARM_COLUMNS, EpisodeLayout

DOCS = Path(__file__).parents[2] / "docs" / "data.md"


def test_the_documentation_lists_every_column_with_its_type_and_unit() -> None:
    rows = re.findall(r"^\| `([^`]+)` \|[^|]*\| (float32|int64|uint8|bool) \|([^|]*)\|", DOCS.read_text(), re.M)
    documented = {name.replace("<name>", "NAME"): (dtype, unit.strip()) for name, dtype, unit in rows}
    columns = (*EpisodeLayout(8, {"NAME": (4, 4)}).columns(), *ARM_COLUMNS)
    assert documented == {column.name: (column.dtype, column.unit) for column in columns}
