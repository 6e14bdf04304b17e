"""The sample: a pure function of rows and seed, in the shape its phases and schema say."""

import hashlib
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

from bitdex import sample
from bitdex.errors import InvalidError
from bitdex.sample_site import BLOCK, DISABLED_TAG

ROWS = 3_000


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sample")
    sample.generate(path, ROWS)
    return path


def read(directory: Path, name: str) -> pa.Table:
    delimiter = "\t" if name.endswith(".tsv") else ","
    options = pyarrow.csv.ConvertOptions(strings_can_be_null=True)
    return pyarrow.csv.read_csv(
        directory / name, parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter), convert_options=options
    )


def column(directory: Path, name: str, field: str) -> np.ndarray:
    return read(directory, name)[field].to_numpy()


def digests(directory: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in directory.iterdir()}


def test_same_files_on_every_machine(tmp_path: Path) -> None:
    sample.generate(tmp_path, 500, seed=1)
    assert digests(tmp_path) == GOLDEN


def test_another_seed_gives_other_files(tmp_path: Path) -> None:
    sample.generate(tmp_path, 500, seed=2)
    assert not set(digests(tmp_path).values()) & set(GOLDEN.values())


def test_result_counts_rows_and_bytes(tmp_path: Path) -> None:
    steps: list[int] = []
    files = sample.generate(tmp_path, 400, progress=steps.append)
    assert steps == [400]
    assert sorted(files) == sorted(path.name for path in tmp_path.iterdir())
    for name, figures in files.items():
        content = (tmp_path / name).read_bytes()
        assert figures == {"rows": content.count(b"\n") - 1, "bytes": len(content)}


def test_ids_increase_over_blocks_and_posts_stay_whole(tmp_path: Path) -> None:
    sample.generate(tmp_path, BLOCK + 100, tags_per_image=0)
    assert (np.diff(column(tmp_path, "images.csv", "id")) > 0).all()
    posts = column(tmp_path, "images.csv", "postId")
    assert (np.diff(posts) >= 0).all()
    assert np.array_equal(np.unique(posts), column(tmp_path, "posts.csv", "id"))


def test_every_value_fits_32_bits(directory: Path) -> None:
    for name in sample.HEADERS:
        for values in read(directory, name).itercolumns():
            if pa.types.is_integer(values.type):
                values = values.drop_null().to_numpy()
                assert values.min() >= 0 and values.max() < 2**32


def test_pairs_are_unique_and_name_images(directory: Path) -> None:
    ids = column(directory, "images.csv", "id")
    for name, field in [("tags", "tagId"), ("resources", "modelVersionId"), ("tools", "toolId")]:
        rows = read(directory, f"{name}.csv").select(["imageId", field]).to_pandas()
        assert rows["imageId"].isin(ids).all()
        assert not rows.duplicated().any()
        assert rows["imageId"].is_monotonic_increasing
    assert np.array_equal(column(directory, "metrics.tsv", "imageId"), ids)


def test_tags_have_the_mean_asked_for_and_a_few_are_disabled(tmp_path: Path) -> None:
    sample.generate(tmp_path, 5_000, tags_per_image=10)
    attributes = column(tmp_path, "tags.csv", "attributes")
    assert 9.5 < len(attributes) / 5_000 < 10.2
    assert 0.02 < np.mean(attributes & DISABLED_TAG > 0) < 0.04


def test_tags_are_skewed_and_follow_the_topic(directory: Path) -> None:
    tags = read(directory, "tags.csv").to_pandas()
    popular = tags["tagId"].value_counts()
    assert popular.iloc[0] > 50 * popular.median()
    holders = {tag: set(tags.loc[tags["tagId"] == tag, "imageId"]) for tag in popular.index[:300]}
    pairs = [(holders[a], holders[b]) for a in popular.index[20:60] for b in popular.index[20:60] if a < b]
    lifts = [len(a & b) * ROWS / (len(a) * len(b)) for a, b in pairs]
    assert max(lifts) > 3


def test_publications_miss_and_lie_in_the_future(directory: Path) -> None:
    published = read(directory, "posts.csv")["publishedAtSecs"]
    assert 0.01 < published.null_count / len(published) < 0.06
    future = np.mean(published.drop_null().to_numpy() > sample.NOW)
    assert 0 < future < 0.02


def test_some_versions_are_deleted_and_the_others_have_a_model(directory: Path) -> None:
    named = column(directory, "resources.csv", "modelVersionId")
    versions = read(directory, "model_versions.csv")
    known = np.isin(named, versions["id"].to_numpy())
    assert 0.9 < known.mean() < 1
    assert np.isin(versions["modelId"].to_numpy(), column(directory, "models.csv", "id")).all()


def test_phases_name_the_columns_of_the_files() -> None:
    phases = sample.sample_phases()
    assert [phase["name"] for phase in phases] == [
        "images",
        "tags",
        "resources",
        "tools",
        "techniques",
        "metrics",
    ]
    lookups = []
    for phase in phases:
        suffix = phase.get("format", "csv")
        header = re.split("[,\t]", sample.HEADERS[f"{phase['name']}.{suffix}"])
        assert phase.get("columns", header) == header
        lookups += phase.get("enrichment", [])
    for lookup in lookups:
        assert lookup["columns"] == sample.HEADERS[lookup["lookup"]].split(",")
        lookups += lookup.get("enrichment", [])
    assert len(lookups) == 3


def test_schema_has_the_fields_that_the_phases_fill() -> None:
    schema = sample.sample_schema()
    filters = [field["name"] for field in schema["config"]["filter_fields"]]
    sorts = [field["name"] for field in schema["config"]["sort_fields"]]
    assert (len(filters), len(sorts)) == (20, 7)
    described = {field["target"] for field in schema["data_schema"]["fields"]}
    assert set(filters) | set(sorts) - {"id"} <= described
    filled = set()
    for phase in sample.sample_phases():
        filled |= {field if isinstance(field, str) else field["target"] for field in phase["fields"]}
    assert filled - described == set()


@pytest.mark.parametrize("rows", [0, -1, sample.MAX_ROWS + 1])
def test_impossible_rows_are_refused(tmp_path: Path, rows: int) -> None:
    with pytest.raises(InvalidError, match=str(rows)):
        sample.generate(tmp_path, rows)


GOLDEN = {
    "images.csv": "4c2b34bc212a6fec",
    "posts.csv": "dc2a091ea70b1c61",
    "tags.csv": "0828cda74065a53e",
    "resources.csv": "16f87972ab006ab7",
    "model_versions.csv": "51ff0e26f6013008",
    "models.csv": "51740a4ba8cb2994",
    "tools.csv": "cb2aa998122f7656",
    "techniques.csv": "ce9064642cac08d6",
    "metrics.tsv": "292bd2d0e594952d",
}
