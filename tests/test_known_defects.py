"""What went wrong in the system that BitDex reimplements, item by item, and the tests that it cannot here.

`STORAGE` are the defects of its files, `FAULTS` those of what it did with files and threads, each by the
number under which it was found: one line, and the tests that show it. Where BitDex lacks what was
defective, the line says so, and the tests show what is left of the matter.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
DEFECT, STORED = "silo/test_defects.py::test_defect_", "known/test_storage.py::test_storage_"
FAULT, INDEX = "known/test_faults.py::test_fault_", "kernels/test_hash_index.py::test_"

STORAGE = {
    1: (
        "Operations beyond the space that their caller had estimated were dropped.",
        DEFECT + "1_a_batch_greater_than_any_estimate_is_written_whole",
    ),
    2: (
        "A frame of more than a mebibyte ran over those of the next thread.",
        DEFECT + "2_frames_longer_than_a_mebibyte",
    ),
    3: (
        "A merge that did not fit its region was thrown away.",
        DEFECT + "3_what_does_not_fit_is_relocated_and_counted",
    ),
    4: (
        "After some deletes and inserts the hash index refused everything, and nobody was told.",
        DEFECT + "4_the_index_never_refuses",
        DEFECT + "4_an_index_grows_from_six_keys_to_many",
        INDEX + "defect_4_deletes_and_inserts_never_fill_the_table",
    ),
    5: (
        "Compaction kept the last bit operation as the whole bitmap; a second load replaced the first.",
        DEFECT + "5_bit_operations_survive_compaction",
        "index/test_dump_model.py::test_index_equals_oracle",
    ),
    6: (
        "All sets were applied before all clears, whatever their order.",
        DEFECT + "6_a_set_after_a_clear_is_kept",
        "formats/test_bitmap.py::test_folding_applies_ops_in_order",
    ),
    7: (
        "A put after a delete was merged with what had been deleted.",
        DEFECT + "7_a_put_after_a_delete_does_not_see_the_old_record",
    ),
    8: (
        "After a crash the older log could be read as the newer one, or never be compacted.",
        DEFECT + "8_order_is_the_sequence_and_not_the_file",
        DEFECT + "8_both_logs_hold_operations_after_a_crash",
    ),
    9: (
        "A compaction emptied both logs, also the one it had not compacted.",
        DEFECT + "9_a_compaction_empties_only_the_log_it_compacts",
    ),
    10: (
        "The index was removed before there was another, and could not be rebuilt.",
        DEFECT + "10_a_lost_index_is_rebuilt_from_the_data",
    ),
    11: (
        "Records were overwritten in place, without a journal; replaying a merge doubled its lists.",
        DEFECT + "11_a_merge_never_touches_committed_bytes",
        DEFECT + "11_replaying_a_concatenating_merge_does_not_double_it",
        "silo/test_crash.py::test_killed_at_any_file_call",
    ),
    12: (
        "A merge ended without a sync of the index.",
        STORED + "12_an_index_is_synced_before_a_commit_names_it",
    ),
    13: (
        "A damaged length in the middle of a log hid all that came after it.",
        "silo/test_damage.py::test_defect_13_damage_in_the_middle_of_a_log_is_an_error",
        "silo/test_damage.py::test_defect_13_a_length_that_points_past_the_end_is_an_error",
    ),
    14: (
        "A record that could not be decoded was replaced by what was to be merged into it, or aborted all.",
        DEFECT + "14_an_old_record_that_cannot_be_decoded_raises",
        "fuzz/test_fuzz.py::test_parsers_take_or_refuse",
    ),
    15: (
        "A time bucket had the key of the metadata. There are no buckets; no two roles share a key.",
        STORED + "15_no_two_roles_share_a_key",
    ),
    16: (
        "What was written to the log could not be read back before a compaction.",
        STORED + "16_what_waits_in_the_log_is_read_like_anything_else",
    ),
    17: (
        "Loading failed for bitmaps in the one of two formats that compaction wrote. There is one format.",
        STORED + "17_bitmaps_load_as_any_roaring_library_reads_them",
        "formats/test_bitmap.py::test_a_put_payload_is_portable_and_leaves_its_bitmap_alone",
    ),
    18: (
        "A bitmap in the log was taken for a bit operation because of its first byte.",
        STORED + "18_a_bitmap_is_never_taken_for_an_operation",
    ),
    19: (
        "The query cache was loaded from one log only. It lies in a silo; both logs are always read.",
        DEFECT + "8_both_logs_hold_operations_after_a_crash",
        "silo/test_silo.py::test_logs_take_turns_and_nothing_is_lost",
    ),
    20: (
        "Cached entries kept places in a log that was replaced. They hold ids; states keep their logs.",
        STORED + "20_a_state_keeps_its_place_in_a_log_that_was_replaced",
    ),
    21: (
        "Cached results took in slots that matched one of several clauses. What a commit alters is dropped.",
        "live/test_cached.py::test_histories",
        "index/test_query_model.py::test_answers",
    ),
    22: (
        "Names of fields and labels were saved on request only; after a crash others got their numbers.",
        STORED + "22_names_are_on_the_device_before_what_uses_them",
        STORED + "22_numbers_of_labels_are_not_given_twice",
        STORED + "22_one_field_too_many_is_refused",
    ),
    23: (
        "A pending update of some fields hid the others; packed shards were read with an offset of one.",
        STORED + "23_a_document_updated_in_part_shows_all_its_fields",
        "test_columns.py::test_columns_come_back",
    ),
    24: (
        "A field that could not be found was field 0, among the system's own keys.",
        STORED + "24_a_field_that_is_not_known_is_an_error_and_never_number_0",
    ),
    25: (
        "Space was counted in 32-bit floats: large values overlapped.",
        DEFECT + "25_space_is_counted_in_integers",
    ),
    26: (
        "Writers held pointers that outlived what they pointed to.",
        STORED + "26_a_merge_cannot_outlive_its_silo",
        STORED + "26_what_was_handed_out_stays_valid",
    ),
    27: (
        "Values that a parallel load wrote first could not be enumerated.",
        STORED + "27_values_that_a_merge_writes_first_can_be_enumerated",
    ),
    28: (
        "Two queries with one hash shared a cached result, and hashes changed. They are compared whole; the "
        "hash index compares keys, and its published bytes are read for ever.",
        INDEX + "what_was_inserted_is_found",
        INDEX + "a_table_holds_keys_that_were_made_to_collide",
        "formats/test_hash_index.py::test_stored_tables_are_read",
    ),
    29: (
        "Every read scanned both logs.",
        DEFECT + "29_a_read_does_not_depend_on_the_length_of_the_log",
        DEFECT + "29_a_read_after_a_write_does_not_depend_on_the_length_of_the_log",
    ),
    30: (
        "Opening walked over the space of each log byte by byte.",
        STORED + "30_opening_does_not_walk_a_log_byte_by_byte",
    ),
    31: (
        "Dead space was never reclaimed, and its count forgotten.",
        DEFECT + "31_dead_space_is_counted_over_reopening_and_reclaimed",
        "silo/test_silo.py::test_rewriting_reclaims_dead_space_and_restores_headroom",
    ),
    32: (
        "Keys were their own hashes: probes of thousands of steps.",
        INDEX + "defect_32_structured_keys_have_short_probes",
    ),
    33: (
        "A document took a kilobyte at least, and a key 48 bytes of the index.",
        STORED + "33_a_small_document_takes_little_space",
    ),
    34: (
        "Compaction copied every value into a map, and used one thread.",
        STORED + "34_compaction_holds_blocks_and_not_all_values",
    ),
    35: (
        "Every bit operation took a lock to look up its field; names with colons broke the manifest. There "
        "is no manifest, and a call takes any number of operations.",
        STORED + "35_names_hold_any_characters",
        DEFECT + "1_a_batch_greater_than_any_estimate_is_written_whole",
    ),
    36: (
        "Each compaction synced whole maps.",
        STORED + "36_a_compaction_costs_what_has_changed",
        "silo/test_index_delta.py::test_a_compaction_of_few_keys_writes_little",
    ),
}

FAULTS = {
    1: (
        "Which log was the newer one was known in memory only: older values came back.",
        DEFECT + "8_order_is_the_sequence_and_not_the_file",
        "crash/test_power_loss.py::test_batches_beside_a_compaction",
    ),
    2: (
        "Data had no checksums and was rewritten in place, its index entry separately.",
        "silo/test_damage.py::test_a_damaged_record_is_refused_with_its_file",
        DEFECT + "11_a_merge_never_touches_committed_bytes",
        "test_check.py::test_every_flipped_bit_is_found_and_never_read_wrong",
    ),
    3: (
        "A frame with a wrong checksum was skipped by the length it claimed.",
        "silo/test_damage.py::test_defect_13_damage_in_the_middle_of_a_log_is_an_error",
        "silo/test_damage.py::test_defect_13_a_length_that_points_past_the_end_is_an_error",
    ),
    4: (
        "A log was cut before what it had held was on the device.",
        FAULT + "04_a_log_is_emptied_when_all_it_held_is_synced",
        "crash/test_power_loss.py::test_all_short_workloads",
    ),
    5: (
        "Mapped logs grew without space being allocated: a full disk was a signal.",
        "crash/test_full_disk.py::test_a_small_disk",
        "crash/test_full_disk.py::test_a_quota",
    ),
    6: (
        "Headroom was computed in 32-bit floats.",
        FAULT + "06_a_region_is_never_smaller_than_its_record",
        DEFECT + "25_space_is_counted_in_integers",
    ),
    7: (
        "Nobody tested kills, power cuts, full disks, two processes, hostile bytes or permissions.",
        "crash/test_kill.py::test_killed_at_random_moments",
        "crash/test_power_loss.py::test_all_short_workloads",
        "crash/test_full_disk.py::test_a_quota",
        "crash/test_lock.py::test_a_writer_in_another_process",
        "fuzz/test_fuzz.py::test_parsers_take_or_refuse",
        FAULT + "07_a_medium_that_cannot_be_written_to_can_be_read",
    ),
    8: (
        "Documents of equal sort values were lost at the edges of pages; cached pages differed from others.",
        "index/test_ten_rows.py::test_ties_lose_nothing_at_page_edges",
        "index/test_query_model.py::test_pages_are_slices",
        "query_order/test_sort_column.py::test_pages_chain_to_the_one_big_answer",
    ),
    9: (
        "A later phase erased what an earlier one had written; late and repeated changes were skipped. "
        "BitDex follows no outbox; phases merge.",
        FAULT + "09_a_later_phase_keeps_what_an_earlier_one_wrote",
        "index/test_dump_model.py::test_index_equals_oracle",
        "index/test_rerun.py::test_any_phase_again_is_once",
    ),
    10: (
        "Dictionaries were saved unsynced, by a temporary name that savers shared, to where nobody looked.",
        FAULT + "10_labels_are_appended_synced_and_read_again",
        STORED + "22_numbers_of_labels_are_not_given_twice",
    ),
    11: (
        "Health was good while the thread that wrote was dead; two processes wrote to one volume.",
        FAULT + "11_an_error_in_a_thread_reaches_who_waits_for_it",
        FAULT + "11_a_compaction_that_fails_in_a_thread_makes_the_silo_read_only",
        "crash/test_failing_calls.py::test_no_batch_is_acknowledged_after_a_sync_that_failed",
        "crash/test_lock.py::test_a_writer_in_another_process",
    ),
    12: (
        "Names of cursors became names of files, and requests could load any path. There is no server.",
        FAULT + "12_names_never_become_paths",
        "query/test_cursor.py::test_refuses",
    ),
}


def named():
    """Return the tests that the tables name."""
    return sorted({test for table in (STORAGE, FAULTS) for _, *tests in table.values() for test in tests})


@pytest.mark.parametrize("table, count", [(STORAGE, 36), (FAULTS, 12)])
def test_every_item_has_a_line_and_tests(table, count):
    assert list(table) == list(range(1, count + 1))
    assert all(line.endswith(".") and tests for line, *tests in table.values())


def test_every_test_that_is_named_is_collected():
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *named()]
    found = subprocess.run(command, cwd=TESTS, capture_output=True, text=True)
    collected = set(re.findall(r"^(?:tests/)?(\S+?::\w+)", found.stdout, re.MULTILINE))
    assert found.returncode == 0 and collected == set(named()), found.stdout[-2000:] + found.stderr[-2000:]


def test_every_test_of_a_known_defect_is_named():
    """And stands at the number that its name has."""
    for name, table, prefix in (("storage", STORAGE, STORED), ("fault", FAULTS, FAULT)):
        source = (TESTS / prefix.partition("::")[0]).read_text()
        for number, rest in re.findall(rf"^def test_{name}_(\d\d)_(\w+)", source, re.MULTILINE):
            assert f"{prefix}{number}_{rest}" in table[int(number)]
        assert len(re.findall(r"^def test_", source, re.MULTILINE)) == len(
            re.findall(rf"^def test_{name}_\d\d_", source, re.MULTILINE)
        )
