"""Arrow tables to pandas."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def to_pandas(table: "pa.Table") -> "pd.DataFrame":
    """Return a DataFrame whose columns are Arrow arrays: no copy, nulls stay nulls, lists stay lists."""
    import pandas as pd

    return pd.DataFrame(
        {name: pd.arrays.ArrowExtensionArray(table.column(name)) for name in table.column_names}
    )
