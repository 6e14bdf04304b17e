"""The command line: answers on stdout, one line of error on stderr, exit codes."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import bitdex
from bitdex import cli_output as output
from bitdex.cli import main
from bitdex.sample import NOW, generate, sample_phases, sample_schema
from bitdex.store import Store
from tests.backups import damage

ROWS = 500
BEST = "reactionCount"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an index of the sample."""
    root = tmp_path_factory.mktemp("cli")
    generate(root / "tables", ROWS)
    with bitdex.create(root / "index", sample_schema(), sync="none") as index:
        index.dump(sample_phases(), root / "tables", now=NOW)
    return root / "index"


class Shell:
    """Runs commands in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]):
        self._capsys = capsys
        self.out = self.err = ""

    def __call__(self, *arguments: object) -> int:
        with pytest.raises(SystemExit) as exit:
            main([str(argument) for argument in arguments])
        self.out, self.err = self._capsys.readouterr()
        return int(exit.value.code or 0)


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


def test_a_sample_becomes_an_index(shell: Shell, tmp_path: Path) -> None:
    assert shell("sample", tmp_path / "tables", "--rows", 300) == 0
    assert shell("create", tmp_path / "index", "--schema", tmp_path / "tables" / "schema.yaml") == 0
    phases, tables = tmp_path / "tables" / "phases.yaml", tmp_path / "tables"
    assert (
        shell("dump", tmp_path / "index", "--phases", phases, "--from", tables, "--only", "images, tags") == 0
    )
    assert shell.out.startswith("images: 300 rows = 300 applied")
    assert len(shell.out.splitlines()) == 2
    assert (
        shell("dump", tmp_path / "index", "--phases", phases, "--from", tables, "--only", "tools", "-q") == 0
    )
    assert (shell.out, shell.err) == ("", "")
    assert shell("count", tmp_path / "index") == 0
    assert shell.out == "300\n"


def test_now_decides_which_documents_are_visible(shell: Shell, tmp_path: Path) -> None:
    """Numbers, dates and moments, as `query` takes them; it took numbers only."""
    generate(tmp_path, 300)
    phases = Path(bitdex.__file__).parent / "sample_phases.yaml"
    counts = set()
    for row, now in enumerate(["1650000000", "1.65e9", "2022-04-15T05:20:00", "2022-04-15 07:20:00+02:00"]):
        directory = tmp_path / f"index{row}"
        bitdex.create(directory, sample_schema(), sync="none").close()
        options = ["--phases", phases, "--from", tmp_path, "--only", "images", "--now", now]
        assert shell("dump", directory, *options) == 0 and "deferred" in shell.out
        shell("count", directory)
        counts.add(int(shell.out))
    (count,) = counts
    assert 0 < count < 300


@pytest.mark.parametrize("now", ["tomorrow", "nan", "inf", "2022-13-01", "", "1e300"])
def test_now_that_is_no_moment_is_named(shell: Shell, tmp_path: Path, now: str) -> None:
    generate(tmp_path, 20)
    bitdex.create(tmp_path / "index", sample_schema(), sync="none").close()
    phases = Path(bitdex.__file__).parent / "sample_phases.yaml"
    assert shell("dump", tmp_path / "index", "--phases", phases, "--from", tmp_path, "--now", now) == 1
    assert shell.err.startswith("bitdex: now: ") and "is no moment; give Unix seconds" in shell.err
    with bitdex.open(tmp_path / "index", "r") as index:
        assert not index.phases


def test_a_phase_that_fails_leaves_and_shows_those_before_it(shell: Shell, tmp_path: Path) -> None:
    generate(tmp_path, 300)
    (tmp_path / "tags.csv").write_text("tagId,imageId,attributes\n")
    bitdex.create(tmp_path / "index", sample_schema(), sync="none").close()
    phases = Path(bitdex.__file__).parent / "sample_phases.yaml"
    assert shell("dump", tmp_path / "index", "--phases", phases, "--from", tmp_path) == 1
    assert shell.out.startswith("images: 300 rows")
    assert shell.err.startswith("bitdex: phase 'tags'")


def test_query_prints_a_table(shell: Shell, directory: Path) -> None:
    assert (
        shell("query", directory, "not poi", "--sort", f"-{BEST}", "--limit", 3, "--fields", f"{BEST},tagIds")
        == 0
    )
    lines = shell.out.splitlines()
    assert lines[0].split() == ["id", BEST, "tagIds"]
    counts = [int(line.split()[1]) for line in lines[1:4]]
    assert counts == sorted(counts, reverse=True)
    assert ", +" in shell.out, "long lists are shortened"
    assert "next page: --after" in lines[-1]


def test_without_fields_a_table_fits_the_terminal(
    shell: Shell, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    shell("query", directory, "--sort", "sortAt")
    table, more = shell.out.split("and ", 1)
    assert max(map(len, table.splitlines())) <= 60
    assert "more fields: " in more


def test_pages_continue_behind_the_cursor(shell: Shell, directory: Path) -> None:
    arguments = ("query", directory, "nsfwLevel == 1", "--sort", f"-{BEST}", "--limit", 40, "--json")
    ids, after = [], []
    while True:
        assert shell(*arguments, *after) == 0
        page = json.loads(shell.out)
        assert page.keys() == {"ids", "total", "cursor", "documents"}
        assert [document["id"] for document in page["documents"]] == page["ids"]
        ids += page["ids"]
        if page["cursor"] is None:
            break
        after = ["--after", page["cursor"]]
    assert len(ids) == len(set(ids)) == page["total"]
    with bitdex.open(directory) as index:
        assert ids == index.query("nsfwLevel == 1", f"-{BEST}", limit=ROWS).ids.tolist()


def test_offset_skips(shell: Shell, directory: Path) -> None:
    shell("query", directory, "--limit", 10, "--json")
    expected = json.loads(shell.out)["ids"][4:]
    shell("query", directory, "--limit", 6, "--offset", 4, "--json")
    assert json.loads(shell.out)["ids"] == expected


def test_csv_is_as_rfc_4180_has_it(shell: Shell, directory: Path) -> None:
    assert (
        shell(
            "query", directory, "tagIds is not null", "--limit", 5, "--fields", "url,tagIds,hasMeta", "--csv"
        )
        == 0
    )
    assert shell.out.count("\r\n") == 6
    names, *rows = csv.reader(io.StringIO(shell.out, newline=""))
    assert names == ["id", "url", "tagIds", "hasMeta"]
    with bitdex.open(directory) as index:
        for id, url, tags, has_meta in rows:
            document = index.get(int(id))
            assert (url, json.loads(tags), json.loads(has_meta)) == tuple(
                document[name] for name in names[1:]
            )
    assert "next page" in shell.err


def test_csv_cells_are_quoted_where_they_must(capsys: pytest.CaptureFixture[str]) -> None:
    output.write_csv(["a", "b"], [['say "no"', None], ["two\nlines", "x,y"]])
    assert capsys.readouterr().out == 'a,b\r\n"say ""no""",\r\n"two\nlines","x,y"\r\n'


def test_count_and_get(shell: Shell, directory: Path) -> None:
    with bitdex.open(directory) as index:
        expected = index.count("nsfwLevel in [1, 16]")
        document = index.get(int(index.ids()[0]))
    shell("count", directory, "nsfwLevel in [1, 16]")
    assert int(shell.out) == expected
    shell("get", directory, document["id"], "--json")
    assert json.loads(shell.out) == document
    shell("get", directory, document["id"], "--fields", "url,tagIds")
    assert [line.split()[0] for line in shell.out.splitlines()] == ["id", "url", "tagIds"]
    assert shell.out.splitlines()[1].split() == ["url", document["url"]]


def test_stats_and_explain(shell: Shell, directory: Path) -> None:
    shell("stats", directory, "--json")
    found = json.loads(shell.out)
    shell("stats", directory)
    assert f"{found['documents']:,} documents" in shell.out
    assert all(phase in shell.out for phase in found["phases"])
    shell("explain", directory, "nsfwLevel == 1 and not poi")
    assert [line.split()[1] for line in shell.out.splitlines()] == ["action", "start", "and"]


@pytest.fixture
def copy(directory: Path, tmp_path: Path) -> Path:
    """Return a copy of the index."""
    return shutil.copytree(directory, tmp_path / "copy")


def test_check_exits_with_1_when_something_is_damaged(shell: Shell, copy: Path) -> None:
    assert shell("check", copy) == 0
    assert shell.out == f"{copy}: nothing found; {ROWS} documents\n"
    damage(copy / "documents" / "data.bin", 300)
    assert shell("check", copy) == 1
    assert re.search(r"^\S+data.bin: offset \d+: expected .* \(error\); ", shell.out, re.M)
    assert shell.err == f"bitdex repair {copy} shows what can be done\n"


def test_check_does_not_fail_for_a_note(shell: Shell, copy: Path) -> None:
    with open(copy / "documents" / "ops_a.log", "ab") as log:
        log.write(bytes(100))
    assert shell("check", copy) == 0
    assert "(note)" in shell.out.splitlines()[0]
    assert shell.out.splitlines()[-1] == f"{copy}: nothing wrong; {ROWS} documents"


def test_silos_are_checked_and_restored_too(shell: Shell, copy: Path, tmp_path: Path) -> None:
    assert shell("check", copy / "documents") == 0
    assert shell.out == f"{copy / 'documents'}: nothing found; {ROWS} records\n"
    assert shell("restore", copy / "documents", tmp_path / "restored") == 0
    assert shell.out.startswith(f"{tmp_path / 'restored'}: {ROWS} records, ")


def test_check_works_where_opening_refuses(shell: Shell, copy: Path) -> None:
    (copy / "documents" / "data.bin").unlink()
    assert shell("count", copy) == 1
    assert shell("check", copy) == 1
    assert "documents/data.bin" in shell.out


def test_repair_does_nothing_without_yes(shell: Shell, copy: Path) -> None:
    assert shell("repair", copy) == 0
    assert shell.out == f"{copy}: nothing to repair\n"
    damage(copy / "documents" / "index.bin", 300)
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    assert shell("repair", copy) == 0
    assert "index.bin" in shell.out and "  would be done: " in shell.out
    assert f"bitdex repair {copy} --yes does it" in shell.err
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before
    assert shell("check", copy) == 1
    assert shell("repair", copy, "--yes") == 0
    assert "index.bin" in shell.out and "  done: " in shell.out
    assert shell("check", copy) == 0


def test_repair_says_what_it_cannot_do(shell: Shell, copy: Path) -> None:
    damage(copy / "schema.json", 300)
    assert shell("repair", copy) == 0
    assert shell("repair", copy, "--yes") == 1
    assert "  done: none: everything is left as it is" in shell.out
    assert "restore a backup" in shell.out and "schema.json" in shell.out


def test_a_backup_is_made_beside_a_writer_and_restored(shell: Shell, copy: Path, tmp_path: Path) -> None:
    with bitdex.open(copy, "w") as writer:
        assert shell("backup", copy, tmp_path / "backup") == 0
        expected = writer.to_pandas()
    assert re.fullmatch(rf"{tmp_path / 'backup'}: {ROWS} documents, [\d.]+ KiB\n", shell.out)
    assert shell("restore", tmp_path / "backup", tmp_path / "again") == 0
    assert re.fullmatch(rf"{tmp_path / 'again'}: {ROWS} documents, [\d.]+ KiB\n", shell.out)
    with bitdex.open(tmp_path / "again", "r") as again:
        assert again.to_pandas().equals(expected)
    assert shell.err == ""


def test_a_damaged_backup_is_not_restored(shell: Shell, copy: Path, tmp_path: Path) -> None:
    damage(copy / "documents" / "data.bin", 300)
    assert shell("restore", copy, tmp_path / "again") == 1
    assert shell.err.startswith(f"bitdex: {copy}: the backup is damaged: ")
    assert not (tmp_path / "again").exists()


def test_compact_reclaims_dead_space(
    shell: Shell, directory: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "settle", lambda store: None)  # as when a loader is killed before
    with bitdex.open(copy, "w") as index:
        for _ in range(3):
            index.dump(sample_phases(), directory.parent / "tables", now=NOW)
        assert index.needs_compaction
        expected = index.to_pandas()
    assert shell("compact", copy) == 0
    assert re.fullmatch(rf"{copy}: [\d.]+ MiB before, [\d.]+ KiB after\n", shell.out)
    with bitdex.open(copy, "r") as index:
        assert index.to_pandas().equals(expected)


def test_two_cannot_write(shell: Shell, copy: Path) -> None:
    with bitdex.open(copy, "w"):
        assert shell("compact", copy) == 1
        assert "has it open for writing" in shell.err
        for command in (["count"], ["stats"], ["query"], ["explain"], ["check"]):
            assert shell(*command, copy) == 0, "readers need no lock"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["count", "INDEX", "nsfwLevl == 1"], "unknown field 'nsfwLevl'"),
        (["count", "INDEX", "nsfwLevel == 'a'"], "nsfwLevel takes a whole number"),
        (["count", "INDEX", "tagIds hs 3"], "expected `and`, `or` or the end"),
        (["query", "INDEX", "--sort", "-type"], "not a sort field"),
        (["query", "INDEX", "--after", "nonsense"], "A cursor is 'value:slot'"),
        (["query", "INDEX", "--limit", "0"], "limit: 0"),
        (["get", "INDEX", "4000000000"], "there is no document 4000000000"),
        (["count", "INDEX/nowhere"], "there is no index here"),
        (["backup", "INDEX", "INDEX/inside"], "lies inside the index"),
        (["backup", "INDEX/nowhere", "target"], "there is no index here"),
        (["restore", "INDEX", "INDEX"], "there is an index or silo already"),
        (["restore", "INDEX/nowhere", "target"], "there is no backup here"),
        (["compact", "INDEX/nowhere"], "there is no index here"),
        (["check", "INDEX/nowhere"], "there is no index here"),
        (["repair", "INDEX/nowhere"], "there is no index and no silo here"),
        (["create", "INDEX", "--schema", "missing.yaml"], "no such configuration file"),
        (["dump", "INDEX", "--phases", "missing.yaml", "--from", "."], "no such configuration file"),
    ],
)
def test_an_error_is_said_and_exits_with_1(
    shell: Shell, directory: Path, arguments: list[str], message: str
) -> None:
    assert shell(*[argument.replace("INDEX", str(directory)) for argument in arguments]) == 1
    assert shell.out == ""
    assert shell.err.startswith("bitdex: ")
    assert message in shell.err
    assert "Traceback" not in shell.err


def test_usage_errors_exit_with_2(shell: Shell, directory: Path) -> None:
    assert shell("query", directory, "--json", "--csv") == 2
    assert shell("get", directory, "seven") == 2


def test_warmup_makes_all_kernels_ready(shell: Shell) -> None:
    assert shell("warmup") == 0
    from bitdex.kernels.jit import JIT_ENABLED, registry

    assert shell.out.startswith(f"{len(registry) if JIT_ENABLED else 0} kernels ready in ")


def run(*arguments: object, **options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from bitdex.cli import main; main()", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_reader_that_goes_away_is_no_error(directory: Path) -> None:
    with run("query", directory, "--limit", ROWS, "--csv") as process:
        assert process.stdout and process.stderr
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
    assert "Traceback" not in errors and "BrokenPipe" not in errors


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys\nfrom bitdex.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print('heavy:', {'numpy', 'numba', 'pandas', 'pyarrow', 'rich'} & set(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert shown.endswith("heavy: set()\n")
    names = "create dump query count get stats check repair compact backup restore explain warmup sample"
    for name in names.split():
        assert f"\n  {name} " in shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (True, "true"),
        ([1, 2], "[1, 2]"),
        ([1, 2, 3, 4, 5, 6], "[1, 2, 3, 4, +2]"),
        ("two\nlines", "two lines"),
        ("x" * 60, "x" * 53 + "..."),
    ],
)
def test_cells(value: object, shown: str) -> None:
    assert output.cell(value) == shown


def test_tables_align_numbers_right() -> None:
    assert output.table(["name", "n"], [["a", 5], ["long", 1234]]) == "name     n\na        5\nlong  1234"


def test_json_has_no_numbers_that_json_does_not_have() -> None:
    shown = output.to_json({"a": [float("inf"), 1.5, float("nan")], "b": (-float("inf"), {"c": "NaN"})})
    assert shown == '{"a": [null, 1.5, null], "b": [null, {"c": "NaN"}]}'
    assert output.record({"a": float("inf"), "b": 1.5}) == "a  inf\nb  1.5"


def test_what_would_control_a_terminal_is_spelled_out() -> None:
    hostile = "\x1b]0;owned\x07 \x1b[2Jbl\x9bue\u202e\r\nline"
    for shown in (output.cell(hostile), output.record({"url": hostile})):
        assert "\\x1b]0;owned\\x07 \\x1b[2Jbl\\x9bue\\u202e" in shown
        assert all(one.isprintable() or one == "\n" for one in shown)
    assert output.record({"url": "two\nlines"}) == "url  two\nlines"


def test_a_terminal_that_lacks_letters(directory: Path) -> None:
    """A document of letters that stdout has no bytes for was a traceback."""
    script = (
        "from bitdex import cli, page\n"
        "page.Page.documents = lambda page, fields=None: [{'id': 1, 'url': '\\u5bff'}]\n"
        f"cli.main(['query', {str(directory)!r}, '--limit', '1', '--json'])"
    )
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert "Traceback" not in done.stderr and r'"url": "\u5bff"' in done.stdout


def test_no_phase_is_no_choice_of_phases(shell: Shell, directory: Path, tmp_path: Path) -> None:
    (tmp_path / "phases.yaml").write_text("dump_phases: []\n")
    command = ("dump", directory, "--phases", tmp_path / "phases.yaml", "--from", tmp_path, "--only", ",")
    assert shell(*command) != 0 and "names no phase" in shell.err
