"""What stands before the first answer: importing the package, opening an index."""

import bitdex

from . import TAG, Loaded


def timeraw_import() -> str:
    return "import bitdex; bitdex.open"


def timeraw_import_for_queries() -> str:
    return "import bitdex.index"


class HeaderChecks(Loaded):
    """Opening reads headers and verifies the two hash indexes."""

    def setup(self, path: str) -> None:
        bitdex.open(path).close()

    def teardown(self, path: str) -> None:
        pass

    def time_open(self, path: str) -> None:
        bitdex.open(path).close()


class BitmapDecoding(Loaded):
    """The first query of a fresh index decodes what later ones find decoded."""

    def setup(self, path: str) -> None:
        with bitdex.open(path) as index:
            index.query(f"tagIds has {TAG}", sort="-sortAt")
        self.index = bitdex.open(path)

    number = 1

    def time_first_query(self, path: str) -> int:
        return self.index.query(f"tagIds has {TAG}", sort="-sortAt").total
