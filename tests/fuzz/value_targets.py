"""Values under fuzz: documents, bitmaps and their changes, sort layers, names and labels."""

import numpy as np
from pyroaring import BitMap

from bitdex.errors import CorruptError
from bitdex.formats import bitmap, dictionary, frame, registry
from bitdex.formats.document import Append, Remove, decode_document, encode_document
from bitdex.kernels import bit_ops, layers, roaring
from bitdex.kernels import document_decode as decoding
from bitdex.kernels.document_fold import FOLDED, IN_PYTHON, fold
from tests.fuzz.mutation import Sample
from tests.fuzz.silo_targets import repair_header
from tests.fuzz.target import Target
from tests.kernels.frame_store import SEED, frames_at

COLUMNS = 8
DOCUMENTS = (
    {1: 300, 2: -5, 3: True, 4: 0.5, 5: "hé", 6: [1, 2, 3]},
    {1: [1, 300, -1], 2: Append([70_000]), 3: Remove([2]), 4: None, 5: [1, "two", [3.5]]},
    {6: [1, 2, 2], 7: list(range(300)), 1: 2**62, 2: "x" * 260},
    {6: Append([3, 4]), 7: Remove([5])},
)


class Documents(Target):
    """Documents, whose kernels take and refuse what the decoder in Python does."""

    name = "document"
    raises = False

    def __init__(self):
        super().__init__()
        self._table = np.full(1 << 16, -1, np.int32)
        self._table[: COLUMNS + 1] = np.arange(-1, COLUMNS)
        self._seen = np.zeros(1 << 16, np.uint8)

    def samples(self):
        whole = [_payload(one) for one in DOCUMENTS]
        both = [(one[0] + two[0], one[1]) for one, two in (whole[2:4], whole[:2])]
        return [Sample(content, tuple(fields)) for content, fields in whole + both]

    def parse(self, data):
        offsets = np.array([0, len(data)])
        self._seen.fill(0)
        sound = decoding.mark_fields(data, offsets, self._seen) < 0
        expected = _decoded(data)
        read, (flag, folded) = self._read(data, offsets), self._fold(data, offsets)
        assert sound == (read is not None) and sound >= (expected is not None)
        assert flag == IN_PYTHON or sound == (flag == FOLDED)  # what it leaves to Python may be damaged
        if expected is not None:
            assert all(self._seen[field] for field in expected)
            if flag == FOLDED:  # a field that is removed from first comes first
                assert repr(sorted(decode_document(folded).items())) == repr(sorted(expected.items()))
        return sound, expected is not None, read, flag

    def _read(self, data, offsets):
        """Return what a column of every kind makes of each field, or None where the walk refuses."""
        tags, places = np.zeros(COLUMNS, np.uint8), np.zeros(COLUMNS, np.int64)
        if decoding.locate(data, offsets, 0, 1, self._table, tags, places) >= 0:
            return None
        fields = np.flatnonzero(tags != decoding.FOLD_FIRST)
        return [self._read_value(data, tags[i : i + 1], places[i : i + 1]) for i in fields]

    def _read_value(self, data, tags, places):
        valid, numbers, reals = np.zeros(1, np.bool_), np.zeros(1, np.int64), np.zeros(1)
        bad = decoding.read_integers(data, tags, places, numbers, valid)
        bad += 2 * decoding.read_booleans(tags, valid.copy(), valid)
        bad += 4 * decoding.read_floats(data, tags, places, reals, valid)
        starts, lengths = np.zeros((2, 1), np.int64)
        for lists in (False, True):
            if decoding.measure(data, tags, places, lists, starts, lengths, valid) < 0:
                bad += self._read_stretch(data, tags, starts, int(lengths[0]), lists)
        return bad, int(numbers[0]), reals.tobytes()

    def _read_stretch(self, data, tags, starts, length, lists):
        assert 0 <= length <= len(data)
        offsets = np.array([0, length])
        if lists:
            out = np.zeros(length, np.int64)
            decoding.read_lists(data, starts, tags, offsets, out)
        else:
            out = np.zeros(length, np.uint8)
            decoding.read_strings(data, starts, offsets, out)
        return 8 * int(out.sum() & 0xFFFF)

    def _fold(self, data, offsets):
        """Return how folding went, and the folded payload."""
        words = len(data) // 3 + 1
        table, slots, links, elements = (
            np.zeros(count, np.int64) for count in (1 << 16, 4 * words, 2 * words, len(data) + 1)
        )
        ends, flags, out = np.zeros(1, np.int64), np.zeros(1, np.uint8), np.zeros(8 * len(data), np.uint8)
        fold(data, offsets, np.array([0, 1]), table, slots, links, elements, ends, flags, out)
        return int(flags[0]), out[: ends[0]].tobytes()


def _payload(document):
    """Return the bytes of a document, and the places of its ids, tags and lengths."""
    content, fields = b"", []
    for field, value in document.items():
        at = len(content)
        content += encode_document({field: value})
        fields += [(at + part, size) for part, size in ((0, 2), (2, 1), (3, 1), (4, 4))]
    return content, [(place, size) for place, size in fields if place + size <= len(content)]


def _decoded(data):
    try:
        return decode_document(data.tobytes())
    except CorruptError:
        return None


class Bitmaps(Target):
    """Bitmaps: what the kernel takes pyroaring takes too, as the same set, and can compute with.

    The other way round the kernel is stricter: it also counts the slots of every run container.
    """

    name = "bitmap"
    refusals = (CorruptError,)
    other = BitMap([*range(100), 65535, 65536, *range(70_000, 90_000, 2), 2**32 - 1])

    def samples(self):
        sets = [range(9), range(100, 9000, 2), [0, 65535, 65536, 2**32 - 1], range(65530, 66000)]
        sets.append([*range(5), 70_000, *range(131_072, 131_100), 3 << 16, 9 << 16])
        fields = ((0, 4), (4, 4), (2, 2), (8, 2), (10, 2), (12, 2), (16, 4), (5, 2), (7, 2), (9, 2))
        return [Sample(bitmap.encode(BitMap(one)), fields) for one in sets]

    def parse(self, data):
        slots = self._slots(data)
        try:
            found = bitmap.decode(data)
        except CorruptError:
            assert slots is None
            raise
        assert slots is None or np.array_equal(slots, np.frombuffer(found.to_array(), np.uint32))
        self._compute(found)
        return len(found), slots is None

    @staticmethod
    def _slots(data):
        try:
            return roaring.decode_slots(data)
        except ValueError:
            return None

    def _compute(self, found):
        union, both, only = found | self.other, found & self.other, found - self.other
        assert len(union) == len(found) + len(self.other) - len(both)
        assert len(found ^ self.other) == len(union) - len(both)
        assert len(list(only)) == len(only)
        assert found.run_optimize() in (True, False)
        assert BitMap.deserialize(found.serialize()) == found


class BitmapOps(Target):
    """Payloads of merges of bitmaps, decoded and folded; what the kernel takes are the same bits."""

    name = "bitmap ops"
    refusals = (CorruptError,)

    def samples(self):
        ops = [(1, BitMap([1, 2, 70_000])), (2, BitMap(range(50, 5000))), (1, BitMap())]
        return [
            Sample(bitmap.encode_ops(ops[:count]), ((0, 1), (1, 4), (5, 4), (9, 4), (31, 1), (32, 4)))
            for count in (1, 2, 3)
        ]

    def parse(self, data):
        bits = self._bits(data)
        try:
            folded, _ = bitmap.fold_records(data, np.array([0, len(data)]), np.array([0, 1]))
        except CorruptError:
            assert bits is None
            raise
        found = bitmap.decode(folded)
        if bits is not None:
            last = dict(zip(bits[1].tolist(), bits[2].tolist()))
            assert [slot for slot, inside in sorted(last.items()) if inside] == list(found)
        return len(found)

    @staticmethod
    def _bits(data):
        """Return the bits that the kernel finds in a frame with this payload, or None."""
        content, places = frames_at([(7, data.tobytes(), frame.order(1, frame.MERGE))], 16)
        keys, sizes = np.array([7], np.uint64), np.array([len(data)])
        return bit_ops.bits_of(content, keys, places, sizes, SEED, 1 << 30)


class Layers(Target):
    """The bit layers of a sort field, against the slots that have a value."""

    name = "layers"
    refusals = (ValueError,)
    slots = np.array([*range(6), 9, *range(65536, 65600), 1 << 20], np.uint32)
    bits = np.arange(3)

    def samples(self):
        values = np.arange(len(self.slots), dtype=np.uint64) % np.uint64(8)
        _, payloads, offsets = layers.encode_layers(self.slots, values)
        self.offsets = offsets
        parts = ((0, 4), (2, 2), (4, 4), (9, 2))
        fields = [(int(start) + at, size) for start in offsets[:-1] for at, size in parts]
        return [Sample(payloads.tobytes(), tuple(fields))]

    def parse(self, data):
        offsets = np.minimum(self.offsets, len(data))
        offsets[-1] = len(data)
        values = layers.decode_layers(self.bits, data, offsets, self.slots)
        assert values.max() < 8
        return int(values.sum())


class Names(Target):
    """A field registry."""

    name = "registry"

    def samples(self):
        entries = [registry.Entry(1, "level"), registry.Entry(2, "né", True), registry.Entry(3, "")]
        whole = [registry.encode(entries[:count], 5) for count in (0, 1, 3)]
        return [Sample(one, ((32, 8), (64, 2), (66, 2), (68, 4), (77, 2), (81, 4))) for one in whole]

    def repair(self, data):
        repair_header(data)

    def parse(self, data):
        return [(one.field, one.name) for one in registry.decode(data.tobytes(), 5)]


class Labels(Names):
    """A dictionary file."""

    name = "dictionary"

    def samples(self):
        entries = [dictionary.Label(1, 1, "a"), dictionary.Label(1, 2, "Zoë"), dictionary.Label(7, 1, "")]
        whole = [dictionary.encode(entries[:count], 5) for count in (0, 1, 3)]
        whole += [one + dictionary.encode_section(entries[1:], 5, len(one)) for one in whole[:2]]
        return [Sample(one, ((32, 8), (64, 4), (68, 4), (72, 4), (85, 4))) for one in whole]

    def parse(self, data):
        return [tuple(one) for one in dictionary.decode(data.tobytes(), 5)]
