"""Phases of a dump: what a configuration means, which columns it reads, what is refused and how."""

import copy
import hashlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from bitdex.dump.phases import ComputedTarget, Lookup, Phase, Target, load_phases
from bitdex.errors import InvalidError, NotFoundError
from bitdex.schema import Schema

INDEX = """
name: pictures
config:
  filter_fields:
    - { name: level, field_type: single_value }
    - { name: postId, field_type: single_value }
    - { name: type, field_type: single_value }
    - { name: baseModel, field_type: single_value }
    - { name: poi, field_type: boolean }
    - { name: onSite, field_type: boolean }
    - { name: isPublished, field_type: boolean }
    - { name: tagIds, field_type: multi_value }
    - { name: versionIds, field_type: multi_value }
    - { name: versionIdsManual, field_type: multi_value }
  sort_fields:
    - { name: likes }
    - { name: existedAt }
    - { name: publishedAt }
    - { name: score, source_type: float64 }
    - { name: sortAt, computed: { op: greatest, source_fields: [existedAt, publishedAt] } }
data_schema:
  fields:
    - { source: type, target: type, value_type: low_cardinality_string }
    - { source: baseModel, target: baseModel, value_type: low_cardinality_string }
    - { source: publishedAt, target: isPublished, value_type: exists_boolean }
    - { source: url, target: url, value_type: string }
"""

DUMP = """
index: pictures
postgres: { connection_string: "${DATABASE_URL}" }
clickhouse: { connection_string: "${CLICKHOUSE_URL}" }
bitdex: { url: "http://localhost:3000" }
dump_phases:
  - name: images
    table: Image
    copy_query: COPY (SELECT id FROM "Image") TO STDOUT
    columns: [id, url, level, flags, type, scanned, created, postId]
    slot_field: id
    sets_alive: true
    fields:
      - level
      - { column: type, target: type }
      - postId
      - url
    computed_fields:
      - target: onSite
        expression: "(flags >> 14) & 1 == 1"
      - target: existedAt
        expression: "max(scanned, created)"
    enrichment:
      - lookup: posts.csv
        table: Post
        copy_query: COPY (SELECT id FROM "Post") TO STDOUT
        columns: [id, published]
        key: id
        join_on: postId
        fields:
          - { column: published, target: publishedAt }
        computed_fields:
          - { target: likes, expression: lookup_key }
          - { target: isPublished, expression: "published != null" }
  - name: tags
    columns: [tagId, imageId, attributes]
    slot_field: imageId
    fields:
      - { column: tagId, target: tagIds }
    filter: "(attributes >> 10) & 1 = 0"
  - name: resources
    columns: [imageId, versionId, detected]
    slot_field: imageId
    fields:
      - { column: versionId, target: versionIds }
    computed_fields:
      - target: versionIdsManual
        expression: "detected == false"
        value: versionId
    enrichment:
      - lookup: versions.csv
        columns: [id, baseModel, modelId]
        key: id
        join_on: versionId
        fields: [baseModel]
        enrichment:
          - csv_path: stage/models.csv
            columns: [id, poi, type]
            key: id
            join_on: modelId
            fields: [poi]
            filter: "type = 'Checkpoint'"
  - name: metrics
    source: clickhouse
    query: SELECT imageId, likes FROM metrics
    format: tsv
    csv_path: stage/metrics.tsv
    slot_field: imageId
    fields: [likes, score]
    streaming_merge: true
triggers:
  - table: Image
"""


@pytest.fixture(scope="module")
def schema() -> Schema:
    return Schema.load(yaml.safe_load(INDEX))


@pytest.fixture(scope="module")
def phases(schema: Schema) -> dict[str, Phase]:
    return {phase.name: phase for phase in load_phases(yaml.safe_load(DUMP), schema)}


# --- What it means ---


def test_phases_stand_in_order(phases: dict[str, Phase]) -> None:
    assert list(phases) == ["images", "tags", "resources", "metrics"]
    assert [phase.sets_alive for phase in phases.values()] == [True, False, False, False]
    assert [phase.slot_field for phase in phases.values()] == ["id", "imageId", "imageId", "imageId"]
    assert [phase.source for phase in phases.values()] == [None, None, None, "stage/metrics.tsv"]
    assert [phase.format for phase in phases.values()] == ["csv", "csv", "csv", "tsv"]
    assert phases["metrics"].settings == {"streaming_merge": True}


def test_targets(phases: dict[str, Phase]) -> None:
    images, resources = phases["images"], phases["resources"]
    assert images.fields[1] == Target("type", "type", "low_cardinality_string")
    assert images.targets == (
        *("level", "type", "postId", "url", "onSite", "existedAt"),
        *("publishedAt", "likes", "isPublished"),
    )
    manual = resources.computed[0]
    assert isinstance(manual, ComputedTarget)
    assert (manual.target, manual.expression.text, manual.value) == (
        *("versionIdsManual", "detected == false"),
        "versionId",
    )
    assert resources.targets == ("versionIds", "versionIdsManual", "baseModel", "poi")
    assert phases["tags"].filter is not None
    assert phases["tags"].filter.columns == {"attributes"}


def test_lookups_nest(phases: dict[str, Phase]) -> None:
    versions = phases["resources"].enrichment[0]
    models = versions.enrichment[0]
    assert isinstance(models, Lookup)
    assert (versions.source, versions.key, versions.join_on) == ("versions.csv", "id", "versionId")
    assert (models.source, models.key, models.join_on) == ("stage/models.csv", "id", "modelId")
    assert versions.filter is None and models.filter is not None


def test_columns_to_read(phases: dict[str, Phase]) -> None:
    images, resources = phases["images"], phases["resources"]
    assert images.input_columns == {
        **dict.fromkeys(("id", "postId", "level", "flags"), "integer"),
        **dict.fromkeys(("scanned", "created"), "number"),
        **dict.fromkeys(("type", "url"), "string"),
    }
    assert images.enrichment[0].input_columns == {"id": "integer", "published": "integer"}
    assert resources.input_columns == {"imageId": "integer", "versionId": "integer", "detected": "boolean"}
    versions = resources.enrichment[0]
    assert versions.input_columns == {"id": "integer", "modelId": "integer", "baseModel": "string"}
    assert versions.enrichment[0].input_columns == {"id": "integer", "poi": "boolean", "type": "string"}
    assert phases["metrics"].input_columns == {"imageId": "integer", "likes": "integer", "score": "float"}


@pytest.mark.parametrize(
    ("phase", "column", "kind"),
    [
        ({"fields": [{"column": "a", "target": "isPublished"}]}, "a", "any"),
        ({"fields": [{"column": "a", "target": "type"}], "filter": "a == 3"}, "a", "any"),
        ({"fields": [{"column": "a", "target": "score"}], "filter": "a > 3"}, "a", "float"),
        ({"fields": [{"column": "a", "target": "likes"}], "filter": "a > 3"}, "a", "integer"),
        ({"fields": [{"column": "a", "target": "isPublished"}], "filter": "a > 3"}, "a", "number"),
        ({"fields": [{"column": "a", "target": "poi"}], "filter": "a != null"}, "a", "boolean"),
        ({"computed_fields": [{"target": "likes", "expression": "a"}]}, "a", "integer"),
        ({"computed_fields": [{"target": "type", "expression": "a"}]}, "a", "string"),
        ({"computed_fields": [{"target": "poi", "expression": "a || b"}]}, "b", "any"),
        ({"fields": [{"column": "id", "target": "url"}]}, "id", "key"),
        ({"fields": [{"column": "id", "target": "likes"}]}, "id", "integer"),
        ({"fields": ["extra"], "extra_fields": True}, "extra", "any"),
    ],
)
def test_uses_of_a_column_are_settled(schema: Schema, phase: dict, column: str, kind: str) -> None:
    (loaded,) = load_phases({"name": "p", "slot_field": "id", **phase}, schema)
    assert loaded.input_columns[column] == kind


def test_a_file_a_mapping_a_list_and_one_phase_are_alike(tmp_path: Path, schema: Schema) -> None:
    content = yaml.safe_load(DUMP)
    path = tmp_path / "dump.yaml"
    path.write_text(DUMP)
    expected = load_phases(content, schema)
    assert load_phases(path, schema) == load_phases(str(path), schema) == expected
    assert load_phases(content["dump_phases"], schema) == expected
    assert load_phases(content["dump_phases"][1], schema) == expected[1:2]


def test_a_missing_file(tmp_path: Path, schema: Schema) -> None:
    with pytest.raises(NotFoundError, match="no such configuration file"):
        load_phases(tmp_path / "none.yaml", schema)


# --- The hash ---


def changed(place: str, change: dict[str, Any]) -> dict[str, Any]:
    """Return the phases with keys set at a place such as ``2.enrichment.0``."""
    result = copy.deepcopy(yaml.safe_load(DUMP))
    part = result["dump_phases"]
    for step in place.split("."):
        part = part[int(step) if step.isdigit() else step]
    part.update(change)
    return result


@pytest.mark.parametrize(
    ("place", "change"),
    [
        ("2", {"csv_path": "elsewhere/resources.csv"}),
        ("2", {"name": "again", "table": "Other", "streaming_merge": True}),
        ("2.enrichment.0.enrichment.0", {"csv_path": "elsewhere/models.csv", "copy_query": "..."}),
    ],
)
def test_the_hash_ignores_where_files_lie(schema: Schema, place: str, change: dict[str, Any]) -> None:
    before, after = (load_phases(one, schema)[2] for one in (yaml.safe_load(DUMP), changed(place, change)))
    assert before != after
    assert before.hash == after.hash
    assert len(before.hash) == 64


@pytest.mark.parametrize(
    ("place", "change"),
    [
        ("2", {"sets_alive": True}),
        ("2", {"format": "tsv"}),
        ("2", {"filter": "detected"}),
        ("2", {"columns": ["versionId", "imageId", "detected"]}),
        ("2", {"slot_field": "versionId"}),
        ("2", {"fields": []}),
        ("2.computed_fields.0", {"value": "imageId"}),
        ("2.computed_fields.0", {"expression": "detected != true"}),
        ("2.enrichment.0", {"lookup": "other.csv"}),
        ("2.enrichment.0", {"key": "modelId"}),
        ("2.enrichment.0.enrichment.0", {"filter": "type = 'LORA'"}),
    ],
)
def test_the_hash_changes_with_what_matters(schema: Schema, place: str, change: dict[str, Any]) -> None:
    before, after = (load_phases(one, schema)[2] for one in (yaml.safe_load(DUMP), changed(place, change)))
    assert before.hash != after.hash


def test_the_hash_changes_with_the_kind_of_a_field(schema: Schema) -> None:
    one = {"name": "p", "slot_field": "id", "fields": ["url"]}
    other = yaml.safe_load(INDEX)
    other["data_schema"]["fields"][3]["value_type"] = "integer"
    assert load_phases(one, schema)[0].hash != load_phases(one, Schema.load(other))[0].hash


def test_a_hash_is_for_ever(phases: dict[str, Phase]) -> None:
    canonical = (
        '{"columns":["tagId","imageId","attributes"],"computed":[],"enrichment":[],'
        '"fields":[["tagId","tagIds","integer_array"]],"filter":"(attributes >> 10) & 1 = 0",'
        '"format":"csv","sets_alive":false,"slot_field":"imageId"}'
    )
    assert phases["tags"].hash == hashlib.sha256(canonical.encode()).hexdigest()


# --- What is refused ---

IMAGES, POSTS, MODELS = "dump_phases[0] 'images'", "0.enrichment.0", "2.enrichment.0.enrichment.0"
REFUSED = [
    ("0", {"colum": []}, f"{IMAGES}: unknown key 'colum'; use 'columns'"),
    ("0", {"triggers": []}, f"{IMAGES}: unknown key 'triggers'"),
    (POSTS, {"slot_field": "id"}, f"{IMAGES}.enrichment[0] 'posts.csv': unknown key 'slot_field'"),
    (POSTS, {"query": "..."}, "unknown key 'query'"),
    ("0", {"name": ""}, "name is ''; give a non-empty string"),
    ("0", {"slot_field": None}, f"{IMAGES}: slot_field is missing; give a non-empty string"),
    ("0", {"slot_field": "ID"}, f"{IMAGES}: slot_field 'ID' is not in columns; use"),
    ("0", {"format": "xls"}, f"{IMAGES}: format is 'xls'; use"),
    ("0", {"columns": ["id", "id"]}, "'id' stands there twice; name it once"),
    ("0", {"sets_alive": "yes"}, "sets_alive is 'yes'; give true or false"),
    ("0", {"fields": ["levle"]}, "fields[0]: target 'levle' is no field of index 'pictures'; use 'level'"),
    ("0", {"fields": ["levle"]}, "or set extra_fields: true to store it in documents only"),
    (
        "0",
        {"fields": [{"column": "nope", "target": "url"}]},
        f"{IMAGES}: column 'nope' is not in columns; use",
    ),
    ("0", {"fields": [{"columm": "url"}]}, f"{IMAGES}.fields[0]: unknown key 'columm'; use 'column'"),
    ("0", {"fields": [3]}, f"{IMAGES}.fields[0]: expected a mapping, found 3"),
    ("0", {"fields": "url"}, f"{IMAGES}: fields is 'url'; give a list"),
    ("0", {"fields": ["url", "url"]}, f"{IMAGES}: target 'url' is given twice; keep one"),
    ("0", {"fields": [{"column": "level", "target": "likes"}]}, f"{IMAGES}: target 'likes' is given twice"),
    ("0", {"fields": [{"column": "level", "target": "sortAt"}]}, "'sortAt' is computed from existedAt, publ"),
    ("0", {"filter": "flags &"}, f"{IMAGES}.filter: expression, character 8: expected a value\n  flags &\n"),
    ("0", {"filter": True}, f"{IMAGES}: filter is True; give a non-empty string, in quotes"),
    ("0", {"filter": "flagz == 1"}, f"{IMAGES}: column 'flagz' is not in columns; use 'flags'"),
    ("0", {"filter": "lookup_key == 1"}, f"{IMAGES}: lookup_key stands outside an enrichment; name a column"),
    (
        "0.computed_fields.0",
        {"expression": "flags >"},
        "computed_fields[0] 'onSite'.expression: expression, ch",
    ),
    ("0.computed_fields.0", {"expression": "f == 1"}, f"{IMAGES}: column 'f' is not in columns; use"),
    ("0.computed_fields.0", {"value": "f"}, f"{IMAGES}: column 'f' is not in columns; use"),
    ("0.computed_fields.0", {"target": "onsite"}, "target 'onsite' is no field of index 'pictures'; use"),
    ("0.computed_fields.0", {"expression": None}, "computed_fields[0] 'onSite': expression is missing"),
    (POSTS, {"lookup": None}, f"{IMAGES}.enrichment[0]: lookup is missing"),
    (
        POSTS,
        {"csv_path": "posts.csv"},
        "lookup is 'posts.csv'; csv_path is given as well; keep one of the two",
    ),
    (POSTS, {"key": "ID"}, f"{IMAGES}.enrichment[0] 'posts.csv': key 'ID' is not in columns; use 'id'"),
    (POSTS, {"join_on": "post"}, f"{IMAGES}: column 'post' is not in columns; use 'postId'"),
    (POSTS, {"join_on": None}, "join_on is missing"),
    (POSTS, {"fields": [], "computed_fields": []}, "there is nothing to look up: give fields or computed"),
    (MODELS, {"filter": "kind = 'x'"}, "enrichment[0]: column 'kind' is not in columns; use"),
    (MODELS, {"fields": ["po"]}, "target 'po' is no field of index 'pictures'; use 'poi'"),
    ("1", {"fields": []}, "'tags': fields is []; there is nothing to do: give fields, computed_fields or"),
    ("1", {"name": "images"}, "dump_phases: phase 'images' is given twice; keep one"),
]


@pytest.mark.parametrize(("place", "change", "message"), REFUSED, ids=[row[2][:60] for row in REFUSED])
def test_refusals_name_place_value_and_remedy(
    schema: Schema, place: str, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidError) as caught:
        load_phases(changed(place, change), schema)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "dump_phases is []; give one or more phases"),
        ({"dump_phases": None}, "dump_phases is missing; give one or more phases"),
        ({"dump_phases": [], "trigers": []}, "configuration: unknown key 'trigers'; use 'triggers'"),
        (["images"], "dump_phases[0]: expected a mapping, found 'images'"),
        (3, "configuration: expected a mapping, found 3"),
        ({}, "dump_phases[0]: name is missing"),
    ],
)
def test_content_that_is_no_dump(schema: Schema, content: Any, message: str) -> None:
    with pytest.raises(InvalidError) as caught:
        load_phases(content, schema)
    assert message in str(caught.value)


def test_extra_fields_reach_into_the_enrichment(schema: Schema) -> None:
    extra = changed("2.enrichment.0", {"fields": [{"column": "modelId", "target": "model"}]})
    extra["dump_phases"][2]["extra_fields"] = True
    assert load_phases(extra, schema)[2].enrichment[0].fields == (Target("modelId", "model", None),)


def test_a_phase_may_only_set_alive(schema: Schema) -> None:
    (phase,) = load_phases({"name": "ids", "slot_field": "id", "sets_alive": True}, schema)
    assert phase.targets == () and phase.input_columns == {"id": "integer"}
