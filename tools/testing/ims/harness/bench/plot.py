# SPDX-License-Identifier: GPL-2.0
"""SVG plots of the figures. The same figures are the same files."""

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update(
    {
        "svg.hashsalt": "rust-ims",
        "svg.fonttype": "path",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
    }
)

from matplotlib import pyplot  # pylint: disable=wrong-import-position

NAMES = {"rust": "Rust", "c": "C", "layered": "layered C", "msix": "MSI-X"}
COLOURS = {"rust": "#b7410e", "c": "#33608c", "layered": "#8fb3d6", "msix": "#8a8a8a"}

PATHS = ("mask", "unmask", "write_message", "handler")
FLOWS = ("delivery", "redelivery", "disable_enable", "set_affinity")
LIFE = ("alloc", "request", "free_irq", "free", "alloc_free", "whole_life")


def save(figure, axes, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.legend(*axes.get_legend_handles_labels(), loc="upper center", ncols=len(NAMES))
    figure.tight_layout(rect=(0, 0, 1, 0.93))
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
    # checkpatch accepts no blanks at the end of a line.
    lines = path.read_text().splitlines()
    path.write_text("".join(f"{line.rstrip()}\n" for line in lines))


def bars(axes, group, operations, title):
    width = 0.8 / len(NAMES)
    for place, who in enumerate(NAMES):
        heights = [group[operation].get(who, 0) for operation in operations]
        at = [index + (place - 1.5) * width for index in range(len(operations))]
        axes.bar(at, heights, width, color=COLOURS[who], label=NAMES[who])
    axes.set_xticks(range(len(operations)), [name.replace("_", "\n") for name in operations])
    axes.set_title(title)
    axes.set_ylabel("instructions")


def operations(figures, path):
    group = figures["instructions"]
    figure, (left, middle, right) = pyplot.subplots(
        1, 3, figsize=(11, 3.4), width_ratios=(len(PATHS), len(FLOWS), len(LIFE))
    )
    bars(left, group, PATHS, "callbacks")
    bars(middle, group, FLOWS, "in use")
    bars(right, group, LIFE, "from allocation to free")
    save(figure, left, path)


def curves(figures, path):
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 3.4))
    for axes, groups, title in (
        (left, ("grow",), "one allocation, by how many there are"),
        (right, ("up", "down"), "allocate (line) and free (dashed) so many, for each"),
    ):
        for group, style in zip(groups, ("-o", "--s")):
            for who, name in NAMES.items():
                rows = sorted((int(count), row[who]) for count, row in figures[group].items() if who in row)
                share = [number if group == "grow" else number / count for count, number in rows]
                label = name if group == groups[0] else None
                counts = [count for count, _ in rows]
                axes.plot(counts, share, style, color=COLOURS[who], label=label, markersize=3)
        axes.set_xscale("log", base=2)
        axes.set_ylim(bottom=0)
        axes.set_title(title)
        axes.set_xlabel("interrupts")
        axes.set_ylabel("instructions")
    save(figure, left, path)


def all_of(figures, folder):
    """Write the plots; return their paths."""
    paths = []
    for name, draw in (("operations", operations), ("slots", curves)):
        paths.append(folder / f"message-store-bench-{name}.svg")
        draw(figures, paths[-1])
    return paths
