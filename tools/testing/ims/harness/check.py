# SPDX-License-Identifier: GPL-2.0
"""make check, make soak: the stages in order, KTAP as it goes, and one line that sums up."""

import concurrent.futures
import dataclasses
import fnmatch
import time

from . import boot, paths, procs, say, stages, tap, variant, verdict
from .tap import FAIL, OK, SKIP, Result, failed

# Two guests at a time on two cores: most of a boot is waiting, and every test has its own deadline.
AT_A_TIME = 2


def main(only=None, table=stages.STAGES):
    chosen = list(choose(only or paths.ONLY, table))
    print(f"KTAP version 1\n1..{len(chosen)}", flush=True)
    results = []
    with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
        guests = Guests(pool, [stage for stage in chosen if stage.boots])
        try:
            # They need what is built, not what the other stages find.
            guests.start()
            for number, stage in enumerate(chosen, 1):
                results.append(run_stage(stage, number, guests))
        except BaseException:
            procs.stop_all()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    leaves = [leaf.status for result in results for leaf in result.leaves()]
    passed, bad, skipped = (leaves.count(status) for status in (OK, FAIL, SKIP))
    if bad:
        print("# failed:")
        for result in results:
            list_failed(result, "")
    print(f"{passed} passed, {bad} failed, {skipped} skipped", flush=True)
    return 0 if passed and not bad else 1


def choose(only, table):
    """The stages so named: those that boot once for each kernel, the others once."""
    named = [stage for stage in table if fnmatch.fnmatch(stage.name, only)]
    if not named:
        names = " ".join(stage.name for stage in table)
        raise say.Failure(f"ONLY={only}: no stage is so named; there are {names}")
    yield from (stage for stage in named if not stage.boots)
    for kernel in variant.chosen():
        for stage in named:
            if stage.boots and (stage.all_kernels or kernel == variant.PLAIN):
                yield dataclasses.replace(stage, name=kernel.label(stage.name), kernel=kernel)


def boots(stage):
    """The guests of a stage, on its kernel."""
    for each in stage.boots(stage.kernel):
        yield dataclasses.replace(
            each,
            name=stage.kernel.label(each.name),
            kernel=stage.kernel,
            run=(*each.run, *stage.kernel.after),
        )


class Guests:
    """All guests of all stages, started together."""

    def __init__(self, pool, with_boots):
        self.pool = pool
        self.with_boots = with_boots
        self.pending = {}

    def start(self):
        self.pending = {
            each.name: [self.pool.submit(boot.run, one, each.live and tell(one)) for one in boots(each)]
            for each in self.with_boots
        }

    def of(self, stage):
        return self.pending[stage.name]


def tell(one):
    """Shows the comments that a guest's programs print."""

    def on_line(source, line):
        if source == "guest" and line.startswith("# "):
            print(f"# {one.name}: {line[2:]}", flush=True)

    return on_line


def list_failed(result, above):
    if result.status == FAIL:
        name = f"{above}{result.name}"
        if not result.parts:
            print(f"#   {name}")
        for part in result.parts:
            list_failed(part, f"{name}: ")


def run_stage(stage, number, guests):
    start = time.monotonic()
    print(f"# {stage.name}", flush=True)
    print("    KTAP version 1", flush=True)
    whole = Result(stage.name)
    for part in parts(stage, guests):
        whole.parts.append(part)
        tap.emit(part, len(whole.parts), depth=1)
    print(f"    1..{len(whole.parts)}")
    if not whole.parts:
        whole.status = SKIP  # nothing to test in this clone yet
    whole.settle()
    print(f"# {stage.name}: {time.monotonic() - start:.1f} s")
    tap.emit(whole, number, with_parts=False)
    return whole


def parts(stage, guests):
    """The stage's results as they come; a fault of the bench itself is a failed test with a name."""
    try:
        if stage.results:
            yield from stage.results()
            return
        for future in guests.of(stage):
            yield verdict.judge(future.result(), stage.kunit)
    except Exception as error:  # pylint: disable=broad-exception-caught
        yield failed(f"{stage.name} runs to its end", f"{type(error).__name__}: {error}")
