"""Damage to a file, done and undone many times: bits flipped in place, other bytes put in its place."""

import os
from contextlib import contextmanager


class Damaged:
    """A file that is damaged and made whole again, many times."""

    def __init__(self, path):
        self.path, self.whole = path, path.read_bytes()

    @contextmanager
    def flipped(self, bit):
        """Flip one bit in place."""
        at = bit >> 3
        with open(self.path, "r+b", 0) as file:
            os.pwrite(file.fileno(), bytes([self.whole[at] ^ 1 << (bit & 7)]), at)
            yield
            os.pwrite(file.fileno(), self.whole[at : at + 1], at)

    @contextmanager
    def replaced(self, content):
        """Put another file in its place: somebody may have this one mapped."""
        self.put(content)
        yield
        self.put(self.whole)

    def put(self, content):
        """Rename a file with this content over it."""
        other = self.path.with_name(self.path.name + ".put")
        other.write_bytes(content)
        other.replace(self.path)


def try_damage(file, damages, check, wrong, ask_every, also=()):
    """Do one damage after the other: a finding must name the file, an answer must be right or an error.

    ``check()`` returns the first finding, which may name one of `also`; ``wrong()`` the wrong answers.
    """
    names = {str(path) for path in (file.path, *also)}
    missed, misread, count = [], {}, 0
    for label, damage in damages:
        with damage:
            found = check()
            if found is None or found.file not in names:
                missed.append(label)
            if count % ask_every == 0 and (answers := wrong()):
                misread[label] = answers
        count += 1
    name = f"{file.path.parent.name}/{file.path.name}"
    print(f"torture: {name}: {count} damages, {len(missed)} not found, {len(misread)} read wrong")
    assert not missed, f"{len(missed)} of {count} not found in {name}: {missed[:50]}"
    assert not misread, f"read wrong: {dict(list(misread.items())[:3])}"
    assert check() is None and not wrong()


def flips(file, bits):
    """Yield every flip of these bits."""
    for bit in bits:
        yield f"byte {bit >> 3} bit {bit & 7}", file.flipped(bit)


def cuts(file, lengths):
    """Yield every truncation to one of these lengths."""
    for length in lengths:
        yield f"cut to {length} bytes", file.replaced(file.whole[:length])
