"""The house: who imports whom, who may call the system, what an import costs, how long a file may be."""

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import bitdex

ROOT = Path(bitdex.__file__).parent
MODULES = {
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}

# From the ground up: a module may import its own layer and those below it. `cli_output` belongs to `cli`.
LAYERS = [
    ["errors"],
    [
        "kernels",
        "formats",
        "filesystem",
        "locks",
        "holding",
        "uninterrupted",
        "cached",
        "progress",
        "html",
        "charts",
        "quantities",
    ],
    ["staying"],
    ["completion", "silo", "columns", "configuration", "registry", "dictionaries", "phase"],
    ["schema", "documents", "bitmaps", "cache", "computed"],
    ["store", "checking", "remains"],
    ["dump", "query", "frames", "page", "findings", "backup", "repairing"],
    ["analysis"],
    ["live", "inside", "summaries"],
    ["selection"],
    ["querying", "sets", "index", "sample", "warming"],
    ["server", "cli", "__main__"],
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}

SEES_THE_SYSTEM = {"bitdex.filesystem", "bitdex.kernels.cache", "bitdex.kernels.unused"}  # machine code
SYSTEM_MODULES = {"os", "mmap", "shutil", "tempfile", "fcntl", "glob"}
HARMLESS = {"os.environ.get", "os.getpid", "os.cpu_count", "os.register_at_fork", "shutil.get_terminal_size"}
FILE_METHODS = {"read_bytes", "read_text", "write_bytes", "write_text", "unlink", "mkdir", "rmdir", "rename"}
FILE_METHODS |= {
    "touch",
    "iterdir",
    "stat",
    "exists",
    "is_file",
    "is_dir",
    "rglob",
    "tofile",
    "memmap",
    "fromfile",
}


def part(module):
    """Return the part of the package that a module belongs to: its top-level name up to the underscore."""
    name = module.split(".")[1] if "." in module else ""
    return name if name.startswith("_") else name.split("_")[0]


def tree(module):
    return ast.parse(MODULES[module].read_text(), module)


def imports(module, inside_functions=True):
    """Return the modules that a module imports, those under TYPE_CHECKING left out."""
    found = set()

    def visit(node):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not inside_functions:
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: relative import"
            found.add(node.module)
            found.update(
                f"{node.module}.{alias.name}"
                for alias in node.names
                if f"{node.module}.{alias.name}" in MODULES
            )
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree(module))
    return found


def test_every_part_of_the_package_has_a_layer():
    unknown = {part(module) for module in MODULES} - set(RANK) - {""}
    assert not unknown, f"place {unknown} in LAYERS"


@pytest.mark.parametrize("module", [module for module in MODULES if part(module)])
def test_imports_go_downwards(module):
    for imported in imports(module):
        if imported.split(".")[0] == "bitdex" and part(imported):
            assert RANK[part(imported)] <= RANK[part(module)], (
                f"{module} imports {imported}, which is above it"
            )


def test_no_two_parts_import_each_other():
    uses = {}
    for module in MODULES:
        for imported in imports(module):
            if imported.startswith("bitdex.") and part(imported) != part(module) and part(module):
                uses.setdefault(part(module), set()).add(part(imported))
    circles = {
        (one, other) for one in uses for other in uses[one] if one in uses.get(other, ()) and one < other
    }
    assert circles <= {("formats", "kernels")}  # a format's checksum, a kernel's field sizes


def test_only_kernels_import_numba():
    users = {
        module
        for module in MODULES
        for name in imports(module)
        if name.split(".")[0] in ("numba", "llvmlite")
    }
    assert {part(module) for module in users} == {"kernels"}


@pytest.mark.parametrize("module", [module for module in MODULES if module not in SEES_THE_SYSTEM])
def test_only_one_module_calls_the_file_system(module):
    own = {node.name for node in ast.walk(tree(module)) if isinstance(node, ast.FunctionDef)}
    for call in ast.walk(tree(module)):
        if not isinstance(call, ast.Call):
            continue
        name = ast.unparse(call.func)
        receiver, _, method = name.rpartition(".")
        where = f"{module}:{call.lineno} calls {name}: use bitdex.filesystem"
        assert name != "open" or "open" in own, where
        assert name in HARMLESS or name.split(".")[0] not in SYSTEM_MODULES, where
        assert method != "open" or "path" not in receiver.lower(), where
        assert method not in FILE_METHODS or receiver == "filesystem" or "resources" in receiver, where


@pytest.mark.parametrize("module", MODULES)
def test_files_are_short_and_say_what_they_are(module):
    text = MODULES[module].read_text()
    assert text.count("\n") <= 400, f"{MODULES[module]} has {text.count(chr(10))} lines"
    if text.strip():
        assert ast.get_docstring(ast.parse(text)), f"{MODULES[module]} has no docstring"


def test_no_module_is_named_after_nothing():
    names = {module.rpartition(".")[2] for module in MODULES}
    assert not names & {"utils", "util", "common", "helpers", "misc", "core"}


def test_public_names_exist():
    assert bitdex.__all__ == sorted(set(bitdex.__all__))
    for name in bitdex.__all__:
        assert getattr(bitdex, name) is not None
    assert set(bitdex.__all__) <= set(dir(bitdex))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = bitdex.nothing


def test_importing_is_cheap():
    """No compiler, no DataFrames, no Arrow; seconds are those beside an empty interpreter."""
    code = """if True:
        import sys, time
        start = time.perf_counter()
        import bitdex
        spent = time.perf_counter() - start
        heavy = sorted({"numba", "pandas", "pyarrow", "numpy", "pyroaring"} & set(sys.modules))
        print(heavy, spent)
    """
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split(
            "]"
        )
        for _ in range(3)
    ]
    assert {heavy for heavy, _ in runs} == {"["}
    assert min(float(seconds) for _, seconds in runs) < 0.15


@pytest.mark.parametrize(
    "module", ["bitdex.errors", "bitdex.filesystem", "bitdex.schema", "bitdex.configuration"]
)
def test_plain_modules_do_not_load_the_compiler(module):
    code = f"import sys, {module}; print(sorted({{'numba', 'pandas', 'pyarrow'}} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]"


def kernels():
    """Return all kernels of the package."""
    from bitdex.kernels import jit

    for module in pkgutil.iter_modules([str(ROOT / "kernels")]):
        importlib.import_module(f"bitdex.kernels.{module.name}")
    return jit.registry


def test_kernels_have_one_signature_and_read_only_inputs_first():
    from numba.core import types

    assert len(kernels()) > 50
    for kernel in kernels():
        arguments = kernel.signature.args
        arrays = [one for one in arguments if isinstance(one, types.Array)]
        assert len(arguments) == kernel.python.__code__.co_argcount, kernel.__qualname__
        assert kernel.__doc__, kernel.__qualname__
        written = [one.mutable for one in arrays]
        assert written == sorted(written), f"{kernel.__module__}.{kernel.__qualname__}: outputs come last"
        assert all(one.layout == "C" for one in arrays)
        assert not isinstance(kernel.signature.return_type, types.Array), kernel.__qualname__


def test_a_kernel_compiles_without_the_global_lock_and_for_nothing_else():
    from bitdex.kernels import checksum, jit

    if not jit.JIT_ENABLED:
        return
    compiled = checksum.crc32c_range.compile()
    assert compiled.targetoptions["nogil"] and len(compiled.signatures) == 1
    assert not compiled._can_compile


def test_no_kernel_is_registered_twice():
    names = [f"{kernel.__module__}.{kernel.__qualname__}{kernel.signature}" for kernel in kernels()]
    assert len(names) == len(set(names))
