"""Target: a parser under fuzz: its samples, how checksums are made right again, what it may raise."""

from bitdex.errors import BitdexError
from tests.fuzz.mutation import Mutator


class Target:
    """A parser, fed with mutated samples; every second input gets right checksums first.

    A subclass gives `name`, `samples` and `parse`, and `repair` where the format has checksums. What
    `parse` returns says how the input was taken, 0 for a refusal that raised nothing; it is
    compared between compiled, checked and plain kernels.
    """

    name = ""
    refusals = (BitdexError,)
    raises = True  # False where `parse` returns that it refuses
    batch = 1000  # inputs made at a time

    def __init__(self):
        self._mutator = Mutator(self.samples(), self.batch)

    def samples(self):
        """Return sound inputs."""
        raise NotImplementedError

    def repair(self, data):
        """Make the checksums in an input right, in place."""

    def parse(self, data):
        """Read an input; assert what has to hold of what was accepted."""
        raise NotImplementedError

    def inputs(self, seed, first, stop):
        """Yield the inputs with these numbers."""
        for number in range(first - first % self.batch, stop, self.batch):
            for at, data in enumerate(self._mutator.batch(seed, number // self.batch), number):
                if first <= at < stop:
                    if at % 2:
                        self.repair(data)
                    yield data

    def close(self):
        """Remove what the target has on disk."""

    def outcome(self, data):
        """Return what `parse` makes of an input: its result, or the name of the error it may raise."""
        try:
            return self.parse(data)
        except self.refusals as error:
            return type(error).__name__
