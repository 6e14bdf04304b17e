"""The sample's files, generated once and kept, and the constants that questions are made of."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from asv_benchmarks.peers.joined import read
from bitdex import sample

POPULAR = 100


def ensure(data: Path, rows: int) -> Path:
    """Return the folder of the sample's files; generate them if they are not there."""
    folder = data / f"sample-{rows}"
    manifest = folder / "manifest.json"
    if not manifest.exists():
        print(f"Generating {rows:,} images in {folder}", flush=True)
        files = sample.generate(folder, rows)
        manifest.write_text(json.dumps(files, indent=1))
    return folder


@dataclass(frozen=True)
class Facts:
    """Values that occur in the data. Users and posts are as frequent here as there."""

    ids: np.ndarray
    users: np.ndarray
    posts: np.ndarray
    dates: np.ndarray
    tags: np.ndarray

    @classmethod
    def of(cls, folder: Path) -> "Facts":
        """Read the visible images, and the most popular tags, from the files."""
        images, posts = read(folder / "images.csv"), read(folder / "posts.csv")
        future = posts["id"].filter(pc.greater(posts["publishedAtSecs"], sample.NOW))
        images = images.filter(pc.invert(pc.is_in(images["postId"], future.combine_chunks())))
        tags = pc.value_counts(read(folder / "tags.csv")["tagId"])
        order = np.argsort(-tags.field("counts").to_numpy(), kind="stable")
        return cls(
            ids=images["id"].to_numpy(),
            users=images["userId"].to_numpy(),
            posts=images["postId"].to_numpy(),
            dates=images["createdAtSecs"].to_numpy(),
            tags=tags.field("values").to_numpy()[order[:POPULAR]],
        )
