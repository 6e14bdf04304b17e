"""Documents by id: decoding to dicts, to Arrow columns, to pandas."""

import numpy as np

from . import TAG, Loaded


class Shuffled(Loaded):
    """Ids without order; the documents lie in the page cache."""

    def setup(self, path: str) -> None:
        super().setup(path)
        self.ids = np.random.default_rng(1).permutation(self.index.ids())
        self.index.get_many(self.ids).to_arrow()


class DecodingOfOneDocument(Shuffled):
    def time_get(self, path: str) -> int:
        return len(self.index.get(int(self.ids[0])))


class DecodingToDicts(Shuffled):
    def time_documents(self, path: str) -> int:
        return len(self.index.get_many(self.ids[:1000]).documents())


class DecodingOfNumbers(Shuffled):
    def time_to_arrow(self, path: str) -> int:
        return self.index.get_many(self.ids).to_arrow(["userId", "reactionCount", "sortAt"]).nbytes


class DecodingOfLists(Shuffled):
    def time_to_arrow(self, path: str) -> int:
        return self.index.get_many(self.ids).to_arrow(["tagIds"]).nbytes


class DecodingOfTexts(Shuffled):
    def time_to_arrow(self, path: str) -> int:
        return self.index.get_many(self.ids).to_arrow(["url", "hash"]).nbytes


class ReadingOfPages(Shuffled):
    def time_frame_of_a_page(self, path: str) -> int:
        return len(self.index.query(f"tagIds has {TAG}", "-sortAt", limit=100, cache=False).to_pandas())


class Memory(Shuffled):
    def setup(self, path: str) -> None:
        Loaded.setup(self, path)
        self.ids = self.index.ids()
        self.index.get_many(self.ids[:10]).to_arrow()

    def peakmem_reference(self, path: str) -> None:
        """The memory of everything but the documents."""

    def peakmem_all_documents(self, path: str) -> int:
        return self.index.get_many(self.ids).to_arrow().nbytes
