"""A small shop whose documents change while it is queried: run ``python examples/live.py``.

Its index lies in a temporary directory and leaves nothing.
"""

import random
import tempfile
import threading
import time

import bitdex

SCHEMA = {
    "name": "live",
    "config": {
        "filter_fields": [
            {"name": "kind", "field_type": "single_value"},
            {"name": "tags", "field_type": "multi_value"},
        ],
        "sort_fields": [{"name": "likes", "bits": 32}, {"name": "publishedAt", "bits": 32}],
        "deferred_alive": {"source_field": "publishedAt"},
    },
    "data_schema": {
        "fields": [
            {"source": "kind", "target": "kind", "value_type": "low_cardinality_string"},
            {"source": "tags", "target": "tags", "value_type": "integer_array"},
        ]
    },
}


def feed(index: bitdex.Index, seconds: float) -> None:
    """Apply random changes, twenty in a commit."""
    draw, cursor = random.Random(1), int(index.cursors.get("demo", 0))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        changes = []
        for _ in range(20):
            id, kind = draw.randrange(20_000), draw.choice(["image", "video"])
            ops = [
                {"op": "set", "field": "kind", "value": kind},
                {"op": "set", "field": "likes", "value": draw.randrange(100_000)},
                {"op": "add", "field": "tags", "value": draw.randrange(50)},
            ]
            if draw.random() < 0.1:
                ops = [{"op": "delete"}]
            changes.append({"entity_id": id, "creates_slot": True, "ops": ops})
        cursor += len(changes)
        index.apply(changes, feed="demo", cursor=str(cursor))


def main() -> None:
    """Let a feed run for five seconds and print twice a second what queries see."""
    with tempfile.TemporaryDirectory() as directory:
        show(directory)


def show(directory: str) -> None:
    """Do so with an index in this directory, which is empty."""
    with bitdex.create(directory, SCHEMA) as index:
        index.put(
            {"id": 4_000_000_000, "kind": "video", "likes": 1_000_000, "publishedAt": int(time.time()) + 3}
        )
        print("document 4,000,000,000 has a million likes and appears in three seconds\n")
        thread = threading.Thread(target=feed, args=(index, 5.0))
        thread.start()
        while thread.is_alive():
            time.sleep(0.5)
            start = time.perf_counter()
            page = index.query("kind == 'video'", sort="-likes", limit=3)
            micros = (time.perf_counter() - start) * 1e6
            best = ", ".join(f"{one['id']:,} ({one['likes']:,})" for one in page.documents())
            shown = f"{len(index):,} documents, {page.total:,} videos; best: {best}; {micros:,.0f} us"
            print(f"change {index.cursors.get('demo', '0'):>6}: {shown}")
        thread.join()
        index.compact()
        found = index.check()
        print(f"\ncompacted; check finds {'nothing' if found.empty else found}")
    with bitdex.open(directory, "r") as reader:
        print(f"opened again: {len(reader):,} documents, the feed is at {reader.cursors['demo']}")


if __name__ == "__main__":
    main()
