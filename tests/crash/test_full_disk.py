"""A full disk is an error and never a signal: what was acknowledged stays, and with room again writes go on.

On disks of many sizes a store loads, merges, compacts and rewrites until there is no room
(`tests.crash.filling`). Where this user may mount file systems in memory, that is done on real ones, too.
"""

import pytest

from tests.crash.filling import QuotaDisk, fill, fill_memory_disks, may_mount
from tests.scale import FIRST_SEED, portion, scale

PAGE = 4096
PAGES = [*portion(range(1, 129, scale(16, 1))), 384]  # the last has room for some steps, however arenas fall
SIZES = [PAGE * pages for pages in PAGES]  # bytes free when the work begins
LONG = pytest.mark.timeout(scale(300, 4 * 3600))


@LONG
@pytest.mark.parametrize("kind", ["silo", "index"])
def test_a_quota(tmp_path, kind):
    done = []
    for free in SIZES:
        (tmp_path / f"{free}").mkdir()
        with pytest.MonkeyPatch.context() as patched:
            disk = QuotaDisk(tmp_path / f"{free}", patched)
            try:
                done.append(fill(kind, disk, tmp_path / f"{free}", free))
            except Exception as error:
                raise AssertionError(f"BITDEX_SEED={FIRST_SEED}, {free} bytes free") from error
    tell(kind, "quotas", done)


@LONG
@pytest.mark.parametrize("kind", ["silo", "index"])
def test_a_small_disk(tmp_path, kind):
    if may_mount(tmp_path):
        tell(kind, "file systems in memory", fill_memory_disks(tmp_path, kind, SIZES))
    else:
        print("\ntorture: full disk: this user may not mount one; the quotas stand alone")


def tell(kind, disks, done):
    """Print how much was done on each disk; more on the larger ones."""
    print(f"\ntorture: full disk, {kind}: {len(done)} {disks} filled, {sum(done):,} steps acknowledged")
    assert done[-1] > 3 and done[-1] >= done[0]
