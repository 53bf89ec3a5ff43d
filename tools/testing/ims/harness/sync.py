# SPDX-License-Identifier: GPL-2.0
"""Copy only what changed: an unchanged file keeps its time stamp, so make leaves its objects alone."""

import os
import stat
from pathlib import Path

# What an out-of-tree build or an editor leaves in a clone.
SKIP = (".o", ".ko", ".a", ".mod", ".mod.c", ".cmd", ".order", ".symvers", "~", ".orig", ".rej", ".pyc")


def walk(top):
    """All source files below `top`, relative to it."""
    for folder, dirs, files in os.walk(top):
        dirs[:] = sorted(d for d in dirs if d not in ("__pycache__", "target") and not d.startswith("."))
        for name in sorted(files):
            if not name.endswith(SKIP) and (not name.startswith(".") or name == ".gitignore"):
                yield (Path(folder) / name).relative_to(top)


def write(path, data, mode=0o644):
    """Make `path` hold `data`; tell whether that changed it."""
    mode = 0o755 if mode & 0o111 else 0o644
    try:
        if path.read_bytes() == data and stat.S_IMODE(path.stat().st_mode) == mode:
            return False
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    part.chmod(mode)
    part.rename(path)
    return True


def remove(path):
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    try:
        path.parent.rmdir()
    except OSError:
        pass
    return True


def copy(source, target):
    return write(target, source.read_bytes(), source.stat().st_mode)


def files_of(top):
    """Every file below `top`, relative to it: for build results, where all of them count."""
    return [p.relative_to(top) for p in sorted(top.rglob("*")) if p.is_file()]


def mirror(source, target, names):
    """Make the tree `target` hold the files `names` of `source` and no others."""
    names = set(names)
    changed = sum(copy(source / name, target / name) for name in names)
    return changed + sum(remove(target / name) for name in files_of(target) if name not in names)
