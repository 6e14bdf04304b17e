"""`check_index`: damage is found wherever it is, and an index that opens in spite of it answers rightly.

A closed index is copied, one of its files is damaged in place, checked, asked, and made whole again.
"""

import os
import re
import shutil
from functools import partial
from pathlib import Path

import pytest

import bitdex
from bitdex import filesystem, registry_sets
from bitdex.checking import ATTEMPTS, _check_sets, check_index
from bitdex.errors import BitdexError, CorruptError, NotFoundError, VersionError
from bitdex.formats import meta, registry, sealed
from bitdex.formats.document import encode_document
from bitdex.phase_log import PhaseLog
from bitdex.silo.check import check_files
from bitdex.silo.files import SiloFiles
from bitdex.silo.silo import Silo
from tests.damage import Damaged, cuts, flips, try_damage
from tests.scale import portion, scale

SCHEMA = {
    "name": "small",
    "config": {
        "filter_fields": [
            {"name": "n", "field_type": "single_value"},
            {"name": "kind", "field_type": "single_value"},
            {"name": "tags", "field_type": "multi_value"},
        ],
        "sort_fields": [{"name": "likes"}],
    },
    "data_schema": {
        "fields": [
            {"source": "kind", "target": "kind", "value_type": "low_cardinality_string"},
            {"source": "tags", "target": "tags", "value_type": "integer_array", "default": []},
            {"source": "url", "target": "url", "value_type": "string", "doc_only": True},
        ]
    },
}
ROWS = {"name": "rows", "slot_field": "id", "sets_alive": True, "fields": ["n", "kind", "url"]}
TAGS = {"name": "tags", "slot_field": "id", "fields": ["tags"]}
LIKES = {"name": "likes", "slot_field": "id", "fields": ["likes"]}
LATE = {"name": "late", "slot_field": "id", "fields": ["url"]}
IDS = [*range(1, 25), 70_000]


def rows(ids, url):
    """Return the table of a phase: negative numbers, which have dictionary numbers, too."""
    columns = {"id": ids, "n": [i % 5 - 2 for i in ids], "kind": ["abc"[i % 3] for i in ids]}
    return columns | {"url": [url] * len(ids)}


TABLES = {
    "rows": rows(IDS, "u"),
    "tags": {"id": IDS + IDS, "tags": [i % 7 for i in IDS] + [50 + i for i in IDS]},
    "likes": {"id": IDS[3:], "likes": [i * i for i in IDS[3:]]},
    "late": {"id": [24], "url": ["last"]},
}
MORE = {"rows": rows([*IDS[1:], 99], "longer than before " * 9)}
QUERIES = ["n == -1", "kind == 'a'", "kind != 'b'", "tags has 3", "likes >= 100", "tags is null"]

FILES = ["commit.bin", "dictionaries.bin", "dumps.json", "fields.bin", "schema.json"]
SILO_FILES = ["data.bin", "index.bin", "index.delta", "meta.bin", "ops_a.log", "ops_b.log"]
NAMES = [*FILES, *(f"{silo}/{name}" for silo in ("documents", "bitmaps") for name in SILO_FILES)]
LONG = pytest.mark.timeout(scale(300, 6 * 3600))


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    """Return the directory of an index of five phase runs that was closed; not to be changed."""
    path = tmp_path_factory.mktemp("closed") / "index"
    with bitdex.create(path, SCHEMA, sync="none") as index:
        index.dump([ROWS, TAGS, LIKES], source=TABLES)
        index.dump(ROWS, source=MORE)
        index.dump(LATE, source=TABLES)  # so small that index.delta holds it
    return path


@pytest.fixture
def directory(closed, tmp_path):
    """Return a copy of that index."""
    return Path(shutil.copytree(closed, tmp_path / "index"))


def asked(path):
    """Return what an index answers, by question; None for what ends in an error of ours."""
    try:
        index = bitdex.open(path, "r")
    except BitdexError:
        return {}
    questions = {f"ids of {query}": lambda query=query: index.ids(query).tolist() for query in QUERIES}
    questions["order"] = lambda: index.query(sort="-likes").ids.tolist()
    questions["phases"] = lambda: [(run.name, run.documents) for run in index.phases]
    questions["labels"] = lambda: index.labels("kind")
    for slot in (2, 24, 70_000):
        questions[f"document {slot}"] = lambda slot=slot: index.get(slot)
    with index:
        return {name: answer_of(ask) for name, ask in questions.items()}


def answer_of(ask):
    try:
        return ask()
    except BitdexError:
        return None


@pytest.fixture(scope="module")
def right(closed):
    """Return the right answers."""
    answers = asked(closed)
    assert len(answers) == len(QUERIES) + 6 and all(answers.values()), answers
    return answers


def wrong_answers(path, right):
    """Return the answers that are neither right nor an error."""
    return {name: found for name, found in asked(path).items() if found is not None and found != right[name]}


def first_finding(directory):
    return next(check_index(directory), None)


def findings(directory):
    """Return what is found, as (file, offset, severity), and the texts."""
    found = list(check_index(directory))
    assert all(one.what and one.remedy for one in found)
    paths = [str(Path(one.file).relative_to(directory)) for one in found]
    assert len(set(found)) == len(found)
    return {(path, one.offset, one.severity): one.what for path, one in zip(paths, found)}


def committed(directory, name):
    """Return how many bytes of a file count; a silo may have reserved space behind them."""
    path = directory / name
    end = {"data.bin": "data_end", "index.delta": "delta_end"}.get(path.name)
    return int(SiloFiles(path.parent).read_meta(None)[end][0]) if end else path.stat().st_size


def bits_of(directory, name):
    """Return the bits to flip: all of a file of the index but the zeros of commit.bin, some of a silo's."""
    step = scale(61, 1)  # near 64, and meets every bit of a byte
    bits = range(8 * committed(directory, name))
    if name not in FILES:
        return portion(bits[::step])
    zeros = {*range(8 * 1024, 8 * 4096), *range(8 * 5120, 8 * 8192)} if name == "commit.bin" else set()
    return portion([bit for bit in bits if bit not in zeros or bit % step == 0])


def try_on_index(file, directory, right, damages, ask_every):
    check, wrong = partial(first_finding, directory), partial(wrong_answers, directory, right)
    try_damage(file, damages, check, wrong, ask_every)


def test_a_sound_index_has_no_findings(closed):
    assert findings(closed) == {}
    names = {str(path.relative_to(closed)) for path in closed.rglob("*") if path.is_file()}
    assert {name for name in names if not name.endswith("writer.lock")} == set(NAMES)


@LONG
@pytest.mark.parametrize("name", NAMES)
def test_every_flipped_bit_is_found_and_never_read_wrong(directory, right, name):
    file = Damaged(directory / name)
    bits = flips(file, bits_of(directory, name))
    try_on_index(file, directory, right, bits, scale(61 if name in FILES else 8, 1))


@LONG
@pytest.mark.parametrize("name", NAMES)
def test_every_truncation_is_found_and_never_read_wrong(directory, right, name):
    file = Damaged(directory / name)
    lengths = portion(range(0, committed(directory, name), scale(31, 1)))
    try_on_index(file, directory, right, cuts(file, lengths), scale(16, 1))


@pytest.mark.parametrize("name", FILES)
def test_bytes_behind_the_end_are_found_and_never_read_wrong(directory, right, name):
    file = Damaged(directory / name)
    ends = (b"\0", b"\n", b"}", b"\0" * 4096, file.whole)
    longer = [(repr(more[:9]), file.replaced(file.whole + more)) for more in ends]
    try_on_index(file, directory, right, longer, 1)


@pytest.mark.parametrize("name", [*NAMES, "documents", "bitmaps"])
def test_a_missing_file_is_found_and_never_read_wrong(directory, right, name):
    (directory / name).replace(directory.parent / "taken away")
    severity = "warning" if "/index." in name else "error"
    name = name if "." in name else f"{name}/meta.bin"
    assert severity in {severity for path, _, severity in findings(directory) if path == name}
    assert not wrong_answers(directory, right)


@pytest.mark.parametrize("name", [*FILES[:4], "documents/meta.bin", "bitmaps/data.bin"])
def test_a_file_of_another_index_is_found_and_never_read_wrong(directory, right, tmp_path, name):
    with bitdex.create(tmp_path / "other", SCHEMA, sync="none") as other:
        other.dump([ROWS, TAGS, LIKES], source={**TABLES, "rows": rows([5, 7], "other")})
    (tmp_path / "other" / name).replace(directory / name)
    found = findings(directory)
    assert "error" in {severity for _, _, severity in found}
    if name in ("commit.bin", "dictionaries.bin", "fields.bin"):
        assert any("expected identity" in what for what in found.values())
    assert set(wrong_answers(directory, right)) <= {"phases"}  # dumps.json does not tell whose it is


# -- logs: those of an index are empty between commits -----------------------------------


@pytest.fixture
def silo(tmp_path):
    """Return the files of a closed silo with operations in one of its logs, and its content."""
    with Silo.open(tmp_path / "silo", "w", "concatenate", sync="none") as silo:
        silo.put_many(range(8), [b"x" * 7 * key for key in range(8)])
        silo.compact()
        silo.merge_many([1, 2, 9], [b"more", b"m", b"nine" * 5])
        silo.delete_many([3, 4])
        silo.put(5, b"five")
        content = dict(zip(silo.keys().tolist(), silo.get_many(silo.keys())))
    return SiloFiles(tmp_path / "silo"), content


def wrong_values(files, content):
    """Return the keys whose value is neither right nor an error; a key too many is one."""
    try:
        with Silo.open(files.directory, "r") as silo:
            read = {key: answer_of(lambda key=key: [silo.get(key)]) for key in range(10)}
    except BitdexError:
        return {}
    return {key: found for key, found in read.items() if found is not None and found != [content.get(key)]}


@LONG
@pytest.mark.parametrize("name", ["ops_a.log", "ops_b.log"])
def test_damaged_logs_are_found_and_never_read_wrong(silo, name):
    files, content = silo
    file = Damaged(files.directory / name)
    used = len(file.whole.rstrip(b"\0")) + 8  # behind it lies reserved space
    places = portion([at for at in range(len(file.whole)) if at < used or at % scale(61, 1) == 0])
    damages = [*flips(file, [8 * at + bit for at in places for bit in range(8)]), *cuts(file, places)]

    check, wrong = lambda: next(check_files(files), None), partial(wrong_values, files, content)
    try_damage(file, damages, check, wrong, scale(16, 1), also=files.logs)  # which of them is too short?


# -- what is only a warning, or a note ---------------------------------------------------


def test_copies_of_the_commit_record_are_told_apart(directory):
    file = Damaged(directory / "commit.bin")
    newest = meta.place_of(meta.decode(file.whole))
    with file.flipped(8 * (newest + 512) + 77):
        assert set(findings(directory)) == {("commit.bin", newest + 512, "warning")}
    with file.flipped(8 * 3000):
        assert set(findings(directory)) == {("commit.bin", 3000, "note")}
    torn = meta.decode(file.whole)
    torn["commit"] += 1
    at = meta.place_of(torn)
    with file.replaced(file.whole[:at] + meta.encode(torn)[:512] + file.whole[at + 512 :]):
        assert set(findings(directory)) == {("commit.bin", at + 512, "note")}


def test_a_newest_commit_without_a_copy_that_holds_is_an_error(directory):
    """What a sector of 4 KiB takes with it when it is lost; the index is then as it was before."""
    file = Damaged(directory / "commit.bin")
    newest = meta.place_of(meta.decode(file.whole))
    with file.flipped(8 * newest + 77), file.flipped(8 * (newest + 512) + 99):
        assert ("commit.bin", newest, "error") in findings(directory)


@pytest.mark.parametrize("silo", ["documents", "bitmaps"])
def test_left_overs_are_notes(directory, silo):
    """Files that a writer died over, and files of somebody else; those that belong beside are none."""
    left = [".dumps.json.0123456789ab", "mine.txt", f"{silo}/.ops_a.log.0123456789ab", f"{silo}/data.bin.new"]
    for name in left:
        (directory / name).write_bytes(b"anything")
    for name in ("writer.lock", f"{silo}/writer.lock"):
        (directory / name).write_bytes(b"")
    for name in ("quarantine", "temporary", f"{silo}/quarantine"):
        (directory / name).mkdir(exist_ok=True)
        (directory / name / "file").write_bytes(b"")
    assert set(findings(directory)) == {(name, 0, "note") for name in left}


# -- what one file says of another -------------------------------------------------------


def test_a_sequence_that_a_silo_does_not_have_is_an_error(directory):
    record = meta.decode((directory / "commit.bin").read_bytes())
    record["sequence"] = 1
    record["commit"] += 1
    with open(directory / "commit.bin", "r+b") as file:
        os.pwrite(file.fileno(), meta.encode(record), meta.place_of(record))
    assert {("documents/meta.bin", 0, "error"), ("bitmaps/meta.bin", 0, "error")} <= set(findings(directory))


def test_silos_in_each_others_place_are_an_error(directory):
    (directory / "documents").replace(directory / "kept")
    (directory / "bitmaps").replace(directory / "documents")
    (directory / "kept").replace(directory / "bitmaps")
    found = findings(directory)
    assert {("documents", 0, "error"), ("bitmaps", 0, "error")} <= set(found)
    assert "not 'documents'" in found["documents", 0, "error"]


def test_fields_and_labels_that_bitmaps_use_must_be_known(directory):
    for name, unknown in {
        "fields.bin": {"field number 1", "field number 2", "field number 4", "field number 5"},
        "dictionaries.bin": {f"label {i} of field {name!r}" for i, name in ((1, "n"), (2, "n"), (3, "kind"))},
    }.items():
        file = Damaged(directory / name)
        file.path.unlink()
        what = {one.what for one in check_index(directory) if one.file == str(file.path)}
        assert {f"expected {one}, which bitmaps use, found none" for one in unknown} <= what
        file.put(file.whole)


def test_a_phase_has_no_fewer_documents_than_its_bitmap(directory):
    file = Damaged(directory / "dumps.json")
    content = sealed.decode(file.whole, "dumps.json")
    (run,) = [one for one in content["phases"] if one["name"] == "tags"]
    run["documents"] -= 1
    with file.replaced(sealed.encode(content)):
        found = findings(directory)
        assert found == {("dumps.json", 0, "error"): "phase 'tags': expected 25 or more documents, found 24"}


def test_saved_sets_have_names_and_bitmaps_that_fit(directory):
    with bitdex.open(directory, "w", sync="none") as index:
        index.sets["some"], index.sets["nothing"], index.sets["all"] = index.ids()[:3], [], None
        count = len(index)
        index.delete(int(index.ids()[0]))
    assert list(check_index(directory)) == []
    with bitdex.open(directory, "r") as index:
        entries = registry_sets.read(index.documents.silo)
    assert entries == {"some": [0, 3], "nothing": [1, 0], "all": [2, count]}
    wrong = {"some": [0, 4], "other": [7, 1], "nothing": [1, 0]}
    with Silo.open(directory / "bitmaps") as bitmaps:
        found = list(_check_sets(directory / "documents", wrong, bitmaps))
    assert {one.severity for one in found} == {"error"}
    assert [one.what for one in found] == [
        "saved set 'some': expected a bitmap of 4 documents, found 3",
        "expected a name for saved set 2, which has a bitmap, found none",
        "saved set 'other': expected a bitmap of 1 documents, found no bitmap",
    ]


def test_a_record_of_saved_sets_that_is_none_is_told(directory):
    for content in ({}, {1: "5"}, {1: "{"}, {1: '{"a": 1}'}, {1: 7}):
        with pytest.raises(CorruptError, match="record of saved sets"):
            registry_sets.read({registry_sets.KEY: encode_document(content)})
    assert registry_sets.read({}) == {}


def test_what_holds_its_checksum_must_have_a_meaning_too(directory):
    for name, content in {
        "schema.json": sealed.encode({"name": "small", "config": {"filter_fields": [{"name": 1}]}}),
        "dumps.json": sealed.encode({"format": 2, "phases": [{"name": "rows"}]}),
        "fields.bin": registry.encode([registry.Entry(1, "n")], 1),
    }.items():
        with Damaged(directory / name).replaced(content):
            assert [severity for path, _, severity in findings(directory) if path == name] == ["error"]
            with pytest.raises(BitdexError):
                bitdex.open(directory, "r")


def test_the_record_of_phases_is_refused_where_it_is_missing_or_of_another_version(directory):
    path = directory / "dumps.json"
    path.write_bytes(sealed.encode({"format": 1, "phases": []}))
    with pytest.raises(VersionError, match=r"dumps\.json: format version 1; this package reads 2"):
        PhaseLog(path, 1)
    path.unlink()
    with pytest.raises(CorruptError, match=r"dumps\.json: offset 0: expected .* found no file"):
        PhaseLog(path, 1)


# -- beside a writer ---------------------------------------------------------------------


def test_a_commit_in_between_is_no_damage_and_nothing_is_told_twice(directory):
    (directory / "mine.txt").write_bytes(b"")
    with bitdex.open(directory, "w", sync="none") as writer:
        found = check_index(directory)
        assert Path(next(found).file).name == "mine.txt"
        for _ in range(2):  # the files of the state that the check has begun with are gone
            writer.dump(ROWS, source=TABLES)
        assert list(found) == []


def test_a_writer_that_does_not_rest_is_a_warning(directory, monkeypatch):
    listed, lists = [], filesystem.list_directory

    def list_and_commit(path):
        if path == directory / "documents":
            listed.append(path)
            for _ in range(2):
                writer.dump(ROWS, source=TABLES)
        return lists(path)

    with bitdex.open(directory, "w", sync="none") as writer:
        monkeypatch.setattr(filesystem, "list_directory", list_and_commit)
        (finding,) = check_index(directory)
    assert finding.severity == "warning" and "check again" in finding.remedy
    assert len(listed) >= ATTEMPTS


def test_a_directory_without_an_index_is_refused(tmp_path):
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(NotFoundError, match=re.escape(f"{path}: there is no index here")):
            first_finding(path)
