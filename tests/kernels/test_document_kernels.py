"""Document kernels on damaged bytes: they refuse what the Python decoder refuses, and read nothing else."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from bitdex.columns import decode_columns, fold_documents, scan_fields
from bitdex.errors import CorruptError, InvalidError
from bitdex.formats.document import ENTRY_SIZES, Append, decode_document, encode_document
from bitdex.kernels.document_decode import SIZES

SAMPLE = {
    1: 300,
    2: -5,
    3: True,
    4: 0.5,
    5: "hé",
    6: [1, 2, 3],
    7: [-1, 2**40],
    8: Append([70_000]),
    9: 2**62,
}
KINDS = ("integer", "boolean", "float", "string", "list")


def damaged_payloads():
    """Return the sample cut at every length, then with every bit flipped."""
    payload = encode_document(SAMPLE)
    cut = [payload[:length] for length in range(len(payload))]
    number = int.from_bytes(payload, "little")
    flipped = [(number ^ (1 << bit)).to_bytes(len(payload), "little") for bit in range(8 * len(payload))]
    return cut + flipped


def attempt(read, *arguments):
    """Return the result of a read, or the name of its error."""
    try:
        return read(*arguments)
    except (CorruptError, InvalidError) as error:
        return type(error).__name__


def read_by_kernels(payload, around=b""):
    """Return what scan, fold and decode make of a payload that stands between other bytes."""
    data = np.frombuffer(around + payload + around, np.uint8)
    offsets = np.array([len(around), len(around) + len(payload)])
    fields = attempt(scan_fields, data, offsets)
    folded = attempt(lambda: fold_documents(data, offsets, np.arange(2))[0].tobytes().hex())
    arrays = {}
    for field in fields if isinstance(fields, list) else [1]:
        for kind in KINDS:
            columns = attempt(decode_columns, data, offsets, [(field, kind)])
            arrays[f"{field} {kind}"] = columns if isinstance(columns, str) else repr(columns[0].to_pylist())
    return [fields, folded, arrays]


def test_kernels_refuse_what_python_refuses():
    outcomes = {"documents": 0, "refused": 0, "refused when the value is read": 0}
    for payload in damaged_payloads():
        expected = attempt(decode_document, payload)
        fields, folded, arrays = read_by_kernels(payload)
        if expected != "CorruptError":
            outcomes["documents"] += 1
            assert fields == sorted(expected)
            assert repr(decode_document(bytes.fromhex(folded))) == repr(expected)
            for field, value in expected.items():
                assert repr([value]) in [arrays[f"{field} {kind}"] for kind in KINDS]
        elif fields == "CorruptError":
            outcomes["refused"] += 1
            assert folded == "CorruptError" and set(arrays.values()) == {"CorruptError"}
        else:  # a walk does not look into strings and mixed lists
            outcomes["refused when the value is read"] += 1
            read = {field: {arrays[f"{field} {kind}"] for kind in KINDS} for field in fields}
            assert list(read.values()).count({"CorruptError"}) == 1
    assert min(outcomes.values()) > 5


def test_kernels_read_nothing_around_a_payload():
    for payload in damaged_payloads()[::5]:
        alone = read_by_kernels(payload)
        assert read_by_kernels(payload, b"\x00" * 16) == alone
        assert read_by_kernels(payload, b"\xff" * 16) == alone


def test_compiled_kernels_equal_plain_ones():
    program = (
        "import json, sys\n"
        "from tests.kernels.test_document_kernels import damaged_payloads, read_by_kernels\n"
        "json.dump([read_by_kernels(payload) for payload in damaged_payloads()[::3]], sys.stdout)"
    )
    root = Path(__file__).parents[2]
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(root)}
    plain = subprocess.run(
        [sys.executable, "-c", program], cwd=root, env=environment, capture_output=True, text=True, check=True
    )
    compiled = [read_by_kernels(payload) for payload in damaged_payloads()[::3]]
    assert json.loads(plain.stdout) == json.loads(json.dumps(compiled))


def test_the_kernels_know_the_sizes_of_the_format():
    assert SIZES.tolist() == ENTRY_SIZES
    assert len(ENTRY_SIZES) == 256
