#!/usr/bin/python3
"""Who may include whom, and what the pure core may call.

purity.py includes SOURCE_ROOT      checks every #include of the layers
purity.py symbols libronda_core.a   checks what the archive leaves undefined, and that
                                    it has no variables that start at zero
Exits 1 and names each offender.
"""

import re
import subprocess
import sys
from pathlib import Path

# <stdio.h> is for snprintf alone: SYMBOL_OK has no other name of it.
CORE_HEADERS = {"assert.h", "errno.h", "inttypes.h", "limits.h", "math.h", "stdalign.h", "stdbool.h",
                "stddef.h", "stdint.h", "stdio.h", "stdlib.h", "string.h", "xxhash.h"}
# Folder -> what of ours it may include. Longest match wins.
LAYERS = {
    "discovery": ("discovery/",),
    "transfer/core": ("transfer/core/",),
    "transfer/io": ("transfer/core/", "transfer/io/"),
    "daemon": ("daemon/", "discovery/", "transfer/core/", "transfer/io/"),
    "cli": ("cli/", "daemon/api.h"),
}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
OURS = ("cli/", "daemon/", "discovery/", "transfer/", "tests/")
# Memory, strings and sorting; nothing that knows a clock, a file, a locale or chance.
SYMBOL_OK = re.compile(
    r"(__)?(mem(cpy|move|set|cmp|chr|rchr|mem|pcpy)|str(n?len|n?cmp|r?chr|str|n?cpy|n?dup|c?spn))(_chk)?"
    r"|calloc|malloc|realloc|reallocarray|free|qsort|bsearch|abort|__assert_fail|__stack_chk_fail"
    r"|(__)?v?snprintf(_chk)?|strerror|__\w+[sdt]i[234]"
    r"|XXH\w+|_GLOBAL_OFFSET_TABLE_"
    r"|(sqrt|log2?|log10|exp2?|pow|l?lround|floor|ceil)f?"
    r"|__(a|ub|t|hwa|l)san_\w+|__sanitizer_\w+|__(asan|tsan|sanitizer)_\w+|__gcov_\w+")


def check_includes(root):
    bad = []
    for layer, allowed in LAYERS.items():
        for path in sorted((root / layer).glob("*.[ch]")):
            for number, line in enumerate(path.read_text().splitlines(), 1):
                found = INCLUDE.match(line)
                if found:
                    why = judge_include(layer, allowed, found[1], found[2])
                    if why:
                        bad.append(f"{path.relative_to(root)}:{number}: {line.strip()}: {why}")
    return bad


def judge_include(layer, allowed, mark, name):
    if mark == '"' or name.startswith(OURS):
        if not name.startswith(OURS):
            return "ours are named from the top of the tree"
        return None if name.startswith(allowed) else f"{layer}/ may not know it"
    if layer == "transfer/core" and name not in CORE_HEADERS:
        return "the core is pure"
    return None


def check_symbols(archive):
    out = subprocess.run(["nm", archive], capture_output=True, text=True, check=True).stdout
    defined, undefined, zeroed = set(), set(), set()
    for line in out.splitlines():
        fields = line.split()
        if len(fields) < 2 or len(fields[-2]) != 1:
            continue
        kind, name = fields[-2:]
        {"U": undefined, "w": undefined}.get(kind, defined).add(name)
        if kind in "bBC":
            zeroed.add(name)
    bad = [f"{name}: the core is pure" for name in sorted(undefined - defined)
           if not SYMBOL_OK.fullmatch(name)]
    # Sanitizers bring variables of their own.
    if not any("san_" in name for name in undefined):
        bad += [f"{name}: a variable at file scope" for name in sorted(zeroed)]
    return bad


def main(argv):
    if len(argv) != 2 or argv[0] not in ("includes", "symbols"):
        print(__doc__, file=sys.stderr)
        return 2
    bad = check_includes(Path(argv[1])) if argv[0] == "includes" else check_symbols(argv[1])
    print("\n".join(bad) or "clean")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
