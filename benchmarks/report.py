"""The figures as text for a terminal and as Markdown for a page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from benchmarks.figures import Entrant, Figures, Line, Part
from benchmarks.workload import OPERATIONS

__all__ = ("as_markdown", "as_text", "put_into")

_BEGIN, _END = "<!-- figures: python -m benchmarks report -->", "<!-- end of figures -->"
_NONE = "-"


def as_text(figures: Figures) -> str:
    """Return everything that was measured, one line for each contender and operation."""
    blocks = [_head(figures), *(_part_text(part) for part in figures.parts)]
    return "\n\n".join(blocks)


def as_markdown(runs: Iterable[Figures]) -> str:
    """Return the ratios of several runs as tables, with the driver's own rates."""
    blocks: list[str] = []
    for figures in runs:
        blocks.append(_head(figures))
        blocks += [_part_markdown(part) for part in figures.parts]
    return "\n\n".join(blocks)


def put_into(page: Path, text: str) -> None:
    """Replace what stands between the marks of a page; raise ValueError if it has none."""
    before, begin, rest = page.read_text("utf-8").partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{page} has no lines {_BEGIN} and {_END}")
    page.write_text(f"{before}{_BEGIN}\n\n{text}\n\n{_END}{after}", "utf-8")


def _head(figures: Figures) -> str:
    return (
        f"{figures.when}, {figures.machine}, Python {figures.python}: "
        f"{figures.rounds} rounds, {figures.rows:,} rows, {figures.calls} calls of one task"
    )


# --- a terminal ------------------------------------------------------------------------------


def _part_text(part: Part) -> str:
    lines = [f"{part.backend}: {part.server}; every contender: {part.durability}"]
    if part.problem:
        return f"{part.backend}: {part.problem}"
    width = max(len(each.name) for each in part.entrants)
    lines += [f"  {each.name:{width}} {_entrant(each)}" for each in part.entrants]
    rows: list[tuple[str, ...]] = [
        (
            *("operation", "tasks", "contender", "per second", "(min..max)"),
            *(f"to {part.raw}", "(min..max)", "rows", "digest", "right?"),
        )
    ]
    rows += [_cells(line) for line in _sorted(part)]
    lines += _aligned(rows, (0, 2, 9))
    if any(line.ratios for line in part.lines):
        lines += ["", f"  ratios to {part.raw}, medians:", *_aligned(_matrix(part), (0,))]
    return "\n".join(lines)


def _cells(line: Line) -> tuple[str, ...]:
    return (
        *(line.operation, str(line.tasks), line.contender),
        *(_number(line.rate), _spread(line.rates, ",.0f")),
        *(_ratio(line.ratio), _spread(line.ratios, ".2f")),
        *(f"{line.rows:,}", line.digest or _NONE, line.problem or "yes"),
    )


def _aligned(rows: Sequence[tuple[str, ...]], texts: Sequence[int]) -> Iterator[str]:
    """Yield rows as lines; some columns are texts, the others numbers."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.ljust(width) if place in texts else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield ("  " + "  ".join(cells)).rstrip()


# --- a page ----------------------------------------------------------------------------------


def _part_markdown(part: Part) -> str:
    lines = [f"### {part.backend}", ""]
    if part.problem:
        return "\n".join([*lines, f"Not measured: {part.problem}"])
    lines += [f"{part.server}; for every contender {part.durability}.", ""]
    head, *rows = _matrix(part, spread=True)
    lines += [_bar(head), _bar(["---", *("---:" for _ in head[1:])]), *map(_bar, rows), ""]
    lines += [f"- {each.name} {_entrant(each)}" for each in part.entrants]
    wrong = [line for line in _sorted(part) if line.problem]
    lines += [
        f"- {each.contender}, {each.operation}, {each.tasks} tasks: {each.problem}"
        for each in wrong
    ]
    return "\n".join(lines)


def _bar(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


# --- both ------------------------------------------------------------------------------------


def _matrix(part: Part, *, spread: bool = False) -> list[tuple[str, ...]]:
    """Return a table: operations down; the driver's rate, then the ratio of each contender."""
    names = [each.name for each in part.entrants if each.name != part.raw]
    lines = {(each.operation, each.tasks, each.contender): each for each in part.lines}
    table: list[tuple[str, ...]] = [("operation, tasks", f"{part.raw}/s", *names)]
    for operation, tasks in dict.fromkeys((each.operation, each.tasks) for each in _sorted(part)):
        base = lines.get((operation, tasks, part.raw))
        cells = [_ratio_of(lines.get((operation, tasks, name)), spread=spread) for name in names]
        table.append((f"{operation}, {tasks}", _number(base.rate if base else None), *cells))
    return table


def _ratio_of(line: Line | None, *, spread: bool) -> str:
    if line is None:
        return _NONE
    if line.problem:
        return "failed" if line.failed else "WRONG"
    return f"{_ratio(line.ratio)} {_spread(line.ratios, '.2f')}" if spread else _ratio(line.ratio)


def _sorted(part: Part) -> list[Line]:
    """Return the lines by operation and tasks, in the order of the contenders."""
    operations, names = list(OPERATIONS), [each.name for each in part.entrants]
    return sorted(
        part.lines,
        key=lambda each: (
            operations.index(each.operation),
            each.tasks,
            names.index(each.contender),
        ),
    )


def _entrant(each: Entrant) -> str:
    manner = each.returns and f"{each.uses}; returns {each.returns}"
    return ": ".join(filter(None, (each.version, manner, each.problem)))


def _number(value: float | None) -> str:
    return _NONE if value is None else f"{value:,.0f}"


def _ratio(value: float | None) -> str:
    return _NONE if value is None else f"{value:.2f}"


def _spread(values: Sequence[float], form: str) -> str:
    return f"({min(values):{form}}..{max(values):{form}})" if values else _NONE
