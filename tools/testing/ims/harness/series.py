# SPDX-License-Identifier: GPL-2.0
"""make series: the patches to mail, with a cover letter, in out/series.

Each is a patch of patches/ or patches/hooks, and the new files of this repo for which it adds a line
to MAINTAINERS. The last one must lead to the tree that the build makes.
"""

import email
import fnmatch
import os
import re
import shutil
import tempfile
from pathlib import Path

from . import build, paths, sync, tree
from .say import Failure, Step

SERIES = paths.OUT / "series"
COVER = paths.REPO / "patches/cover-letter.txt"

# Stands for whoever mails it.
SIGN_OFF = re.compile(r"^Signed-off-by: .*@rust-ims\.example>\n", re.M)
IDENTITY = {"NAME": "rust-ims maintainers", "EMAIL": "maintainers@rust-ims.example"}


def main():
    source = tree.Tree()
    with source.locked():
        build.prepare(source)
        make(source)
    return 0


def make(source):
    """Called with the tree locked, and prepared. Returns git's hash of the tree of the last patch."""
    with Step("series", log="series.log") as step:
        brought = new_files()
        with tempfile.TemporaryDirectory(dir=paths.OUT) as top:
            repo = Repo(top, step)
            repo.start(source)
            for patch, files in brought.items():
                repo.add(patch, files)
            last = repo.compare(source)
            shutil.rmtree(SERIES, ignore_errors=True)
            repo.git("format-patch", "-q", "-o", SERIES, *FORMAT, "pristine")
        step.result = f"{len(brought)} patches and a cover letter in out/series"
    return last


FORMAT = (
    *("--cover-letter", f"--description-file={COVER}", "--cover-from-description=subject"),
    *("--zero-commit", "--no-signature", "--abbrev=12"),
)


def new_files():
    """{patch: the new files that it brings}; each has to be of one patch."""
    files = [f"{top}/{name}" for top in tree.OVERLAY for name in sync.walk(paths.REPO / top)]
    patterns = {patch: added_to_maintainers(patch) for patch in tree.series_of_patches()}
    problems = []
    for name in files:
        of = [patch.name for patch, added in patterns.items() if any(covers(one, name) for one in added)]
        if len(of) != 1:
            problems.append(f"{name} is of {' and '.join(of) or 'no patch'}")
    for patch, added in patterns.items():
        unused = [one for one in added if not any(covers(one, name) for name in files)]
        problems += [f"{patch.name} adds {one} to MAINTAINERS, which is no new file" for one in unused]
    if problems:
        raise Failure("each new file must be in the lines that one patch adds to MAINTAINERS", problems)
    return {
        patch: [name for name in files if any(covers(one, name) for one in added)]
        for patch, added in patterns.items()
    }


def added_to_maintainers(patch):
    hunks = re.search(r"^\+\+\+ b/MAINTAINERS\n(.*?)(?=^diff |\Z)", patch.read_text(), re.M | re.S)
    return re.findall(r"^\+F:\s+(\S+)$", hunks[1], re.M) if hunks else []


def covers(pattern, name):
    """As in MAINTAINERS: a directory with all below it, or names in one directory."""
    if pattern.endswith("/"):
        return name.startswith(pattern)
    return pattern.count("/") == name.count("/") and fnmatch.fnmatchcase(name, pattern)


class Repo:
    """A git repository of the files that differ from the kernel's own, or are to differ."""

    def __init__(self, top, step):
        self.top = top
        self.step = step

    def git(self, *words, **env):
        """Runs git without regard to its user's settings."""
        ours = {f"GIT_{who}_{what}": text for who in ("AUTHOR", "COMMITTER") for what, text in IDENTITY.items()}
        ours |= {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "GIT_COMMITTER_DATE": self.date()}
        lines, _ = self.step.run(["git", *words], cwd=self.top, env={**os.environ, **ours, **env}, what="git")
        return [line.rstrip("\n") for line in lines]

    def date(self):
        """That of the last patch: the same series is the same text."""
        return email.message_from_string(tree.series_of_patches()[-1].read_text())["Date"]

    def start(self, source):
        """The kernel's own files."""
        self.git("init", "-q", "-b", "series")
        own = {name: data for name in source.managed() if (data := source.pristine(name)) is not None}
        for name, data in own.items():
            sync.write(self.path(name), data, (source.source / name).stat().st_mode)
        self.git("add", "--force", "--", *own)
        self.git("commit", "-q", "--allow-empty", "-m", "pristine")
        self.git("tag", "pristine")

    def path(self, name):
        return Path(self.top) / name

    def add(self, patch, files):
        mail = self.path(".git/mail")
        sync.write(mail, SIGN_OFF.sub("", patch.read_text()).encode())
        self.git("am", "-q", mail)
        for name in files:
            sync.copy(paths.REPO / name, self.path(name))
        if files:
            self.git("add", "--force", "--", *files)
            self.git("commit", "-q", "--amend", "--no-edit")

    def compare(self, source):
        """The tree that the series leads to must be the one that is built."""
        names = sorted({*self.git("ls-files"), *source.managed()})
        exist = [name for name in names if (source.source / name).exists()]
        index = {"GIT_INDEX_FILE": str(self.path(".git/built"))}
        self.git(f"--work-tree={source.source}", "add", "--force", "--", *exist, **index)
        (built,) = self.git("write-tree", **index)
        last = self.last()
        if built != last:
            different = self.git("diff-tree", "-r", "--name-status", last, built)
            raise Failure("the series does not lead to the tree that is built", different)
        return last

    def last(self):
        (tree_of_head,) = self.git("rev-parse", "HEAD^{tree}")
        return tree_of_head
