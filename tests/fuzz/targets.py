"""All targets by name."""

from tests.fuzz.directory_targets import DIRECTORIES
from tests.fuzz.index_targets import Deltas, Tables
from tests.fuzz.silo_targets import Commits, Frames, Log, Regions
from tests.fuzz.text_targets import Cursors, Integers, Queries, Requests, Rows
from tests.fuzz.value_targets import BitmapOps, Bitmaps, Documents, Labels, Layers, Names

JITTED = (Frames, Regions, Tables, Deltas, Documents, Bitmaps, Layers, Integers, Rows)
PLAIN = (Log, Commits, BitmapOps, Names, Labels, Cursors, Queries, Requests)

TARGETS = {one.name: one for one in (*JITTED, *PLAIN, *DIRECTORIES)}
