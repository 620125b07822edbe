"""`python -m tests.corpus [score|mutate|sample|beside|peer]`: how well evallint does on code that was labelled by hand.

score    lint the labelled packages and repositories, and compare the findings with the labels (the default)
mutate   take protections of right code away, one region at a time, and count how many the linter notices
sample   draw findings that are on no labelled region, to be read by hand
beside   lint the sources of the marks, places of the other rules, and compare the findings with them
peer     score torch-preflight (which must be installed) by the same rules

The pinned packages are downloaded once (pip checks their hashes) to DIR/pypi/NAME-VERSION/. The code of the labelled
repositories is read from DIR/github/OWNER+NAME@COMMIT/, which is laid out from bare clones, CLONES/OWNER+NAME/repo, if those
are given. Labels whose file is absent are left out and counted.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from evallint import Settings, lint_paths
from evallint.finding import Finding
from evallint.linting import Text
from tests.corpus import beside, peer, tables
from tests.corpus.labels import BESIDE, FIRST, MORE, Collection, LabelFile, Mark, Region, present, read_marks, read_regions
from tests.corpus.mutation import mutate
from tests.corpus.packages import Pin, bring_packages, read_pins
from tests.corpus.repositories import Tree, bring_repositories, trees_of
from tests.corpus.scoring import Said, Score, region_of, score, together

CACHE = Path("~/.cache/evallint-corpus")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; 1 where `--min` is not reached, else 0."""
    options = _options(argv)
    root: Path = options.root.expanduser().resolve()
    collection: Collection = MORE if options.command == "beside" else options.collection
    pins, trees = _sources_of_marks() if options.command == "beside" else _sources(collection)
    folder = root / collection.packages.subfolder
    brought = bring_packages(pins, folder)
    if brought:
        print(f"{brought} packages unpacked below {folder}")
    if options.github:
        for repository in bring_repositories(trees, options.github.expanduser(), root / collection.repositories.subfolder):
            print(f"absent: {repository}")
    return COMMANDS[options.command](options, root)


def _sources(collection: Collection) -> tuple[list[Pin], list[Tree]]:
    return read_pins(collection.pins), trees_of(read_regions(collection.repositories.labels))


def _sources_of_marks() -> tuple[list[Pin], list[Tree]]:
    marks = read_marks(BESIDE)
    roots = {each.root for each in marks}
    trees = trees_of(each for each in marks if each.subfolder == MORE.repositories.subfolder)
    return [pin for pin in read_pins(MORE.pins) if pin.root in roots], trees


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.corpus", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", nargs="?", choices=tuple(COMMANDS), default="score", help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, default=CACHE, metavar="DIR", help=f"where the code is kept (default: {CACHE})")
    parser.add_argument("--github", type=Path, metavar="CLONES", help="bare clones of the labelled repositories")
    parser.add_argument(
        "--more", dest="collection", action="store_const", const=MORE, default=FIRST, help="the second collection of labels, not the first"
    )
    parser.add_argument("--list", action="store_true", help="print each wrong, missed and unlabelled finding, or each unnoticed mutant")
    parser.add_argument("--min", type=_figures, metavar="P,R", help="score: fail unless every rule has this precision and recall")
    parser.add_argument("--limit", type=int, metavar="N", help="mutate: so many mutants a rule (60); sample: so many findings (40)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="mutate, sample: of the random choice (1)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes (default: one a core)")
    return parser.parse_args(argv)


def _figures(text: str) -> tuple[float, float]:
    precision, recall = (float(part) for part in text.split(","))
    return precision, recall


def _score(options: argparse.Namespace, root: Path) -> int:
    return _tables(options, root, lambda folder, regions: _lint_folders(folder, {each.root for each in regions}, options.jobs))


def _peer(options: argparse.Namespace, root: Path) -> int:
    return _tables(options, root, lambda folder, regions: peer.findings(folder, sorted({each.file for each in regions})))


def _tables(options: argparse.Namespace, root: Path, findings: Callable[[Path, list[Region]], list[Said]]) -> int:
    """Print the tables of what `findings` says of the regions below a folder; 1 where `--min` is not reached."""
    parts: list[dict[str, Score]] = []
    for labels, regions in _labelled(options.collection, root):
        folder = root / labels.subfolder
        scores = score(regions, findings(folder, regions))
        parts.append(scores)
        _print(tables.table(scores, peer.FIGURES.get(labels.subfolder, {})))
        if options.list:
            _print(line for tally in scores.values() for line in tables.details(tally, folder))
    if len(parts) == len(options.collection.label_files):
        print("\nall labels")
        _print(tables.table(together(parts), peer.FIGURES[peer.TOGETHER] if options.collection is FIRST else {}))
    if options.min and not all(tally.reaches(*options.min) for scores in parts for tally in scores.values()):
        print(f"a rule is below precision {options.min[0]} or recall {options.min[1]}", file=sys.stderr)
        return 1
    return 0


def _mutate(options: argparse.Namespace, root: Path) -> int:
    for labels, regions in _labelled(options.collection, root):
        folder = root / labels.subfolder
        for code, outcome in mutate(regions, folder, _lint_text, limit=options.limit or 60, seed=options.seed).items():
            print(tables.outcomes(code, outcome))
            if options.list:
                _print(tables.survivors(outcome, folder))
    return 0


def _sample(options: argparse.Namespace, root: Path) -> int:
    by_file: dict[str, list[Region]] = {}
    packages = options.collection.packages
    for each in read_regions(packages.labels):
        by_file.setdefault(each.file, []).append(each)
    folder = root / packages.subfolder
    found = _lint_folders(folder, {pin.root for pin in read_pins(options.collection.pins)}, options.jobs)
    loose = [said for said in found if region_of(said, by_file.get(said.file, [])) is None]
    chosen = random.Random(options.seed).sample(loose, min(options.limit or 40, len(loose)))
    print(f"{len(chosen)} of {len(loose)} findings on no labelled region ({len(found)} findings in all)")
    for said in sorted(chosen, key=lambda said: (said.file, said.line)):
        print(f"{folder / said.file}:{said.line}: {said.code} {said.message}")
    return 0


def _beside(options: argparse.Namespace, root: Path) -> int:
    every = read_marks(BESIDE)
    marks: list[Mark] = []
    found: list[Said] = []
    for labels in MORE.label_files:
        folder = root / labels.subfolder
        there = present([each for each in every if each.subfolder == labels.subfolder], folder)
        found += _lint_folders(folder, {each.root for each in there}, options.jobs)
        marks += there
    absent = len(every) - len(marks)
    note = f"; the code of {absent} more is absent" if absent else ""
    print(f"\n{len(marks)} marks in {len({each.file for each in marks})} files of {len({each.root for each in marks})} sources{note}")
    tallies = beside.score(marks, found)
    _print(beside.table(tallies))
    if options.list:
        _print(line for tally in tallies.values() for line in beside.details(tally, root))
    return 0


def _labelled(collection: Collection, root: Path) -> Iterator[tuple[LabelFile, list[Region]]]:
    """The collection's label files with the regions whose code is there, each announced; one without any code is passed by."""
    for labels in collection.label_files:
        every = read_regions(labels.labels)
        regions = present(every, root / labels.subfolder)
        absent = len(every) - len(regions)
        note = f"; the code of {absent} more is absent" if absent else ""
        print(f"\n{labels.name}: {len(regions)} regions in {len({each.file for each in regions})} files{note}", flush=True)
        if regions:
            yield labels, regions


def _lint_folders(folder: Path, roots: set[str], jobs: int) -> list[Said]:
    """The findings of each source, linted as a program of its own, by the default settings."""
    tasks = [(folder, name) for name in sorted(roots)]
    if jobs == 1:
        return [said for part in _counted(map(_lint_folder, tasks), len(tasks)) for said in part]
    with ProcessPoolExecutor(jobs) as pool:
        return [said for part in _counted(pool.map(_lint_folder, tasks), len(tasks)) for said in part]


def _counted(parts: Iterable[list[Said]], total: int) -> Iterator[list[Said]]:
    """The parts as they come, counted on a terminal."""
    for number, part in enumerate(parts, start=1):
        if sys.stderr.isatty():
            print(f"\rlinted {number} of {total}", end="\n" if number == total else "", file=sys.stderr, flush=True)
        yield part


def _lint_folder(task: tuple[Path, str]) -> list[Said]:
    folder, name = task
    report = lint_paths([folder / name], Settings())
    return [
        Said(Path(each.place.path).relative_to(folder).as_posix(), each.place.line, each.code, each.message, each.function)
        for each in report.findings
    ]


def _lint_text(path: Path, data: bytes) -> list[Finding]:
    return lint_paths([], Settings(), texts=[Text(str(path), data)]).findings


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)


COMMANDS = {"score": _score, "mutate": _mutate, "sample": _sample, "beside": _beside, "peer": _peer}

if __name__ == "__main__":
    raise SystemExit(main())
