"""The ops log: header, and a log's bytes as frames one after the other."""

import numpy as np

from bitdex.formats import frame, oplog
from bitdex.silo.log import OpsLog
from tests.formats.goldens import golden, register
from tests.formats.suite import check_bit_flips, check_golden, check_truncated

IDENTITY = 99


def decode(data):
    return oplog.decode_header(np.frombuffer(data, np.uint8), "ops_a.log")


@register("oplog", "v1", "empty")
def empty() -> bytes:
    return oplog.encode_header(IDENTITY, 7)


@register("oplog", "v1", "batches")
def batches() -> bytes:
    frames = [
        (1, b"one", frame.order(1, frame.PUT, begin=True)),
        (2, b"two", frame.order(1, frame.PUT, commit=True)),
        (1, b"", frame.order(2, frame.DELETE, begin=True, commit=True)),
        (0, b"x" * 30, frame.order(5, frame.MERGE, begin=True, commit=True)),
        (3, b"torn", frame.order(6, frame.PUT, begin=True)),
    ]
    return oplog.encode_header(IDENTITY, 0) + b"".join(frame.encode(*one, IDENTITY) for one in frames)


def test_logs_are_encoded_as_they_were_stored():
    check_golden("oplog")


def test_a_stored_log_is_read_up_to_its_last_commit(tmp_path):
    path = tmp_path / "ops_a.log"
    path.write_bytes(golden("oplog", "batches"))
    log = OpsLog.read(path, IDENTITY, 0, None, False)
    operations = log.waiting(0).operations
    assert operations.keys.tolist() == [1, 2, 1, 0]
    assert operations.sizes.tolist() == [3, 3, 0, 30]
    assert (operations.words >> np.uint64(8)).tolist() == [1, 1, 2, 5]
    assert log.last_sequence == 5
    assert OpsLog.read(path, IDENTITY, 1, 4, False).waiting(1).operations.keys.tolist() == [1]


def test_the_writer_writes_the_bytes_of_the_plain_definition(tmp_path):
    log = OpsLog.create(tmp_path / "ops_a.log", IDENTITY, 0)
    values, offsets = np.frombuffer(b"onetwo", np.uint8), np.array([0, 3, 6])
    put, delete = (np.array([frame.order(*one)], np.uint64) for one in ((1, frame.PUT), (2, frame.DELETE)))
    log.append(np.array([1, 2], np.uint64), values, offsets, put, None)
    nothing = values[:0], np.zeros(2, np.int64)
    log.append(np.array([1], np.uint64), *nothing, delete, None)
    log.close()
    frames = [
        (1, b"one", frame.order(1, frame.PUT, begin=True, synced=True)),  # the empty log was on the device
        (2, b"two", frame.order(1, frame.PUT, commit=True)),
        (1, b"", frame.order(2, frame.DELETE, begin=True, commit=True)),
    ]
    expected = oplog.encode_header(IDENTITY, 0) + b"".join(frame.encode(*one, IDENTITY) for one in frames)
    found = log.path.read_bytes()
    assert found[: len(expected)] == expected and not any(found[len(expected) :])


def test_the_header_cannot_change_unseen():
    assert int(decode(golden("oplog", "empty"))["generation"]) == 7
    check_truncated(empty(), decode, "ops_a.log")
    check_bit_flips(empty(), decode, "ops_a.log")
