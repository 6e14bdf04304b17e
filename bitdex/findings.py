"""Findings of a check: what is wrong with an index or a silo, whether it can be opened or not."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from bitdex import filesystem
from bitdex.checking import check_index
from bitdex.silo.check import Finding, check_files
from bitdex.silo.files import SiloFiles

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = list(Finding.__dataclass_fields__)


def check(path: str | Path) -> "pd.DataFrame":
    """Read every byte of every file of an index, or of a silo; nothing is changed, and no lock needed.

    Parameters
    ----------
    path : directory
        It need not be one that can be opened.

    Returns
    -------
    DataFrame
        One row a finding, none if all is well: file, offset, what (expected and found), severity
        ("error": values are or may be lost; "warning": damaged, and nothing lost; "note": nothing
        that a commit accounts for), remedy.

    Raises
    ------
    NotFoundError
        If there is no index and no silo.
    """
    import pandas as pd

    return pd.DataFrame([asdict(one) for one in findings_in(path)], columns=COLUMNS)


def findings_in(path: str | Path) -> Iterator[Finding]:
    """Yield what is wrong with an index, or a silo."""
    directory = Path(path)
    if filesystem.exists(directory / "meta.bin"):
        return check_files(SiloFiles(directory))
    return check_index(directory)
