"""Compiling all kernels ahead, for an image, a test run or a first query that must not wait.

Kernels are otherwise compiled one by one when they are first called. Machine code stays in the
user's cache directory (see `bitdex.kernels.jit`); a lock file beside it makes a second process
wait and then read what the first has compiled.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from bitdex import filesystem
from bitdex.holding import holding
from bitdex.progress import counter


def warmup(progress: bool = False) -> int:
    """Compile every kernel that is not in the cache yet, and load all of them.

    Parameters
    ----------
    progress : bool
        Show a bar on stderr.

    Returns
    -------
    int
        The number of kernels that are ready; 0 where Numba's compiler is switched off.

    Examples
    --------
    >>> import bitdex
    >>> bitdex.warmup() > 80
    True
    """
    from bitdex.kernels import cache, jit

    _import_kernels()
    if not jit.JIT_ENABLED:
        return 0
    cache.told.add(cache.COMPILING)  # which would recommend this warm-up
    kernels, directory = jit.registry, cache.cache_directory()
    with (
        nullcontext() if directory is None else _locked(directory.parent),
        counter(progress, "kernels", len(kernels), "kernels") as report,
    ):
        for kernel in kernels:
            kernel.compile()
            report(1)
    return len(jit.registry)


def _import_kernels() -> None:
    package = import_module("bitdex.kernels")
    for module in iter_modules(package.__path__, "bitdex.kernels."):
        import_module(module.name)


@holding
def _locked(directory: Path) -> Iterator[None]:
    """Hold the directory's lock; the system releases it if the process dies."""
    filesystem.make_directory(directory)
    descriptor = filesystem.open_write(directory / "warmup.lock")
    try:
        filesystem.lock(descriptor)
        yield
    finally:
        filesystem.close(descriptor)
