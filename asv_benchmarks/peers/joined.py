"""The sample joined by hand: one Arrow table, a row per visible image, lists as list columns.

This is what a competent user writes with pyarrow and NumPy. The peers that cannot join files
themselves (SQLite by rows, tantivy, hand-made bitmaps) load this table.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from bitdex.sample import NOW

LISTS = {
    "tagIds": ("tags.csv", "tagId"),
    "modelVersionIds": ("resources.csv", "modelVersionId"),
    "modelVersionIdsManual": ("resources.csv", "modelVersionId"),
    "toolIds": ("tools.csv", "toolId"),
    "techniqueIds": ("techniques.csv", "techniqueId"),
}


def joined(source: Path) -> pa.Table:
    """Return the visible images with everything that is known of them, ordered by id."""
    images = read(source / "images.csv")
    images = with_posts(images, read(source / "posts.csv"))
    published = pc.fill_null(images["publishedAt"], 0)
    images = images.append_column("sortAt", pc.max_element_wise(images["existedAt"], published))
    images = images.filter(pc.less_equal(published, NOW))
    ids = images["id"].to_numpy()
    images = with_resources(images, ids, source)
    metrics = aligned(read(source / "metrics.tsv"), "imageId", images["id"])
    for name in ("reactionCount", "commentCount", "collectedCount"):
        images = images.append_column(name, metrics[name])
    for name, (file, column) in LISTS.items():
        images = images.append_column(name, lists(rows_of(source, file, name), column, ids))
    return images.combine_chunks()


def read(path: Path) -> pa.Table:
    """Read one file; t and f are booleans, empty texts are missing."""
    delimiter = "\t" if path.suffix == ".tsv" else ","
    convert = pyarrow.csv.ConvertOptions(strings_can_be_null=True, true_values=["t"], false_values=["f"])
    return pyarrow.csv.read_csv(path, parse_options=parse_options(delimiter), convert_options=convert)


def parse_options(delimiter: str) -> pyarrow.csv.ParseOptions:
    return pyarrow.csv.ParseOptions(delimiter=delimiter)


def aligned(table: pa.Table, key: str, wanted: pa.ChunkedArray) -> pa.Table:
    """Return the row of `table` whose `key` is wanted, for each wanted key; missing where there is none."""
    return table.take(pc.index_in(wanted, table[key].combine_chunks()).combine_chunks())


def with_posts(images: pa.Table, posts: pa.Table) -> pa.Table:
    """Add what the flags say, the date of existence, and the post's columns."""
    flags = images["flags"].to_numpy()
    post = aligned(posts, "id", images["postId"])
    computed = {
        "hasMeta": ((flags >> 13) & 1 == 1) & ((flags >> 2) & 1 == 0),
        "onSite": (flags >> 14) & 1 == 1,
        "minor": (flags >> 3) & 1 == 1,
        "poi": (flags >> 4) & 1 == 1,
        "existedAt": pc.max_element_wise(images["scannedAtSecs"], images["createdAtSecs"]),
        "publishedAt": post["publishedAtSecs"],
        "availability": post["availability"],
        "postedToId": post["id"],
        "isPublished": pc.is_valid(post["publishedAtSecs"]),
    }
    for name, values in computed.items():
        images = images.append_column(name, pa.array(values) if isinstance(values, np.ndarray) else values)
    return images.drop_columns(["flags", "scannedAtSecs", "createdAtSecs"])


def with_resources(images: pa.Table, ids: np.ndarray, source: Path) -> pa.Table:
    """Add the base model of the last known resource, and the poi of the last checkpoint."""
    rows = read(source / "resources.csv")
    version = aligned(read(source / "model_versions.csv"), "id", rows["modelVersionId"])
    model = aligned(read(source / "models.csv"), "id", version["modelId"])
    poi = pc.if_else(pc.equal(model["type"], "Checkpoint"), model["poi"], None)
    image = rows["imageId"].to_numpy()
    base = last_known(version["baseModel"], image, ids)
    poi = pc.coalesce(last_known(poi, image, ids), images["poi"])
    position = images.column_names.index("poi")
    return images.set_column(position, "poi", poi).append_column("baseModel", base)


def last_known(values: pa.ChunkedArray, image: np.ndarray, ids: np.ndarray) -> pa.Array:
    """Return for each id the last value that is not missing."""
    known = np.flatnonzero(pc.is_valid(values).to_numpy())
    order = known[np.argsort(image[known], kind="stable")]
    last = np.searchsorted(image[order], ids, side="right") - 1
    found = (last >= 0) & (image[order[last]] == ids)
    return values.combine_chunks().take(pa.array(order[last], mask=~found))


def rows_of(source: Path, file: str, name: str) -> pa.Table:
    """Return a list field's rows: tags that are not disabled, resources that were added by hand."""
    rows = read(source / file)
    if name == "tagIds":
        return rows.filter(pc.equal(pc.bit_wise_and(rows["attributes"], 1 << 10), 0))
    if name == "modelVersionIdsManual":
        return rows.filter(pc.invert(rows["detected"]))
    return rows


def lists(rows: pa.Table, column: str, ids: np.ndarray) -> pa.ListArray:
    """Return a list of values for each id, in the order of the file."""
    image = rows["imageId"].to_numpy()
    position = np.searchsorted(ids, image)
    kept = ids[np.minimum(position, len(ids) - 1)] == image
    order = np.argsort(position[kept], kind="stable")
    counts = np.bincount(position[kept], minlength=len(ids))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    values = rows[column].to_numpy()[kept][order].astype(np.uint32)
    return pa.ListArray.from_arrays(offsets, values)
