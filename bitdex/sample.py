"""A generated data set in the shape of an image site: nine dumps, their phases and their schema.

`generate` writes the files that `sample_phases` describes and `sample_schema` indexes; they are a
pure function of rows and seed. What the numbers in them are like stands in `sample_site`. No text
holds a delimiter, a quote or a line break, so that no reader's quoting rules can change the data.
"""

from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import yaml

from bitdex import filesystem
from bitdex.errors import InvalidError
from bitdex.sample_site import BLOCK, END, Column, Site, blocks

NOW = END  # 2025-01-01T00:00:00Z: publications after it are in the future
MAX_ROWS = 1_000_000_000  # ids grow 1.4 times as fast as rows, and have to stay below 2^32
HEADERS = {
    "images.csv": "id,url,nsfwLevel,hash,flags,type,userId,blockedFor,scannedAtSecs,createdAtSecs,"
    "postId,width,height",
    "posts.csv": "id,publishedAtSecs,availability,modelVersionId",
    "tags.csv": "tagId,imageId,attributes",
    "resources.csv": "imageId,modelVersionId,detected",
    "model_versions.csv": "id,baseModel,modelId",
    "models.csv": "id,poi,type",
    "tools.csv": "toolId,imageId",
    "techniques.csv": "techniqueId,imageId",
    "metrics.tsv": "imageId\treactionCount\tcommentCount\tcollectedCount",
}


def sample_schema() -> dict[str, Any]:
    """Return the index definition that fits the sample: 20 filter fields and 7 sort fields."""
    return _read_yaml("sample_schema.yaml")


def sample_phases() -> list[dict[str, Any]]:
    """Return the phases that load the sample's files, in their order."""
    return _read_yaml("sample_phases.yaml")["dump_phases"]


def generate(
    directory: str | Path,
    rows: int,
    seed: int = 20240229,
    tags_per_image: float = 20,
    progress: Callable[[int], None] | None = None,
) -> dict[str, dict[str, int]]:
    """Write the sample's nine files, block by block: memory does not grow with `rows`.

    Parameters
    ----------
    directory : str or Path
        Created if missing; files of the same names are overwritten.
    rows : int
        Number of images, 1 to 1,000,000,000.
    seed : int
        Another seed gives another data set of the same shape.
    tags_per_image : float
        Mean number of tags drawn for an image, before duplicates are dropped.
    progress : callable, optional
        Called with the number of images written so far, after every block.

    Returns
    -------
    dict
        ``{"images.csv": {"rows": 1000, "bytes": 141_123}, ...}``

    Raises
    ------
    InvalidError
        `rows` or `tags_per_image` is out of range.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     files = generate(directory, rows=1000)
    >>> files["images.csv"]["rows"], files["metrics.tsv"]["rows"]
    (1000, 1000)
    """
    if not 1 <= rows <= MAX_ROWS:
        raise InvalidError(f"rows is {rows}; a sample has 1 to {MAX_ROWS} images")
    if not 0 <= tags_per_image <= 100:
        raise InvalidError(f"tags_per_image is {tags_per_image}; it is 0 to 100")
    filesystem.make_directory(Path(directory))
    files = {name: _File(Path(directory) / name, header) for name, header in HEADERS.items()}
    try:
        site = Site(rows, seed)
        files["model_versions.csv"].write(site.model_versions())
        files["models.csv"].write(site.models())
        for block in blocks(site):
            files["images.csv"].write(block.images())
            files["posts.csv"].write(block.posts())
            files["tags.csv"].write(block.tags(tags_per_image))
            files["resources.csv"].write(block.resources())
            files["tools.csv"].write(block.tools())
            files["techniques.csv"].write(block.techniques())
            files["metrics.tsv"].write(block.metrics())
            if progress:
                progress(block.first + block.count)
    finally:
        written = {name: file.close() for name, file in files.items()}
    return written


class _File:
    """One dump being written, and what is said of it in the end."""

    def __init__(self, path: Path, header: str) -> None:
        delimiter = "\t" if path.suffix == ".tsv" else ","
        self._path, self._rows = path, 0
        self._names = header.split(delimiter)
        self._options = pyarrow.csv.WriteOptions(
            include_header=False, delimiter=delimiter, quoting_style="none", batch_size=BLOCK
        )
        self._sink = pa.OSFile(str(path), "wb")
        self._sink.write(f"{header}\n".encode())

    def write(self, columns: list[Column]) -> None:
        table = pa.table(dict(zip(self._names, columns, strict=True)))
        pyarrow.csv.write_csv(table, self._sink, self._options)
        self._rows += table.num_rows

    def close(self) -> dict[str, int]:
        self._sink.close()
        return {"rows": self._rows, "bytes": filesystem.size(self._path)}


def _read_yaml(name: str) -> Any:
    return yaml.safe_load(resources.files("bitdex").joinpath(name).read_text("utf-8"))
