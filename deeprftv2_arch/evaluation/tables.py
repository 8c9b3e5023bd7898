"""The tables at the end of a test, in Markdown: our values beside the paper's."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import chain

from deeprftv2_arch.evaluation.results import DatasetResult, Row


def table(results: Mapping[str, DatasetResult]) -> str:
    """Lay out all values of a test beside the paper's.

    Several data sets on which the same was measured stand side by side, as in the tables of papers; otherwise every
    value has its own line.
    """
    if _alike(list(results.values())):
        return table_across(results)
    return table_in_full(results)


def table_in_full(results: Mapping[str, DatasetResult]) -> str:
    """Give each value its own line."""
    cells = [('data set', 'group', 'images', 'metric', 'ours', 'paper', 'of', 'difference')]
    for result in results.values():
        for row in result.rows():
            ours = 'not measured' if row.ours is None else f'{row.ours:.4f}'
            difference = '' if row.difference is None else f'{row.difference:+.4f}'
            cells.append(
                (result.name, row.group, f'{row.images:,}', row.metric, ours, row.paper, row.network, difference)
            )
    return _markdown(cells, right=(2, 4, 5, 7))


def table_across(results: Mapping[str, DatasetResult]) -> str:
    """Give each data set a column; its metrics share a cell, with as many digits as the paper prints."""
    columns = {name: list(result.rows()) for name, result in results.items()}
    all_rows = list(chain.from_iterable(columns.values()))
    first = next(iter(columns))
    metrics = list(dict.fromkeys(row.metric for row in columns[first]))
    networks = list(dict.fromkeys(row.network for row in all_rows if row.network))

    def line(head: str, show: Callable[[Row], str], network: str | None = None) -> list[str]:
        cells = [head]
        for rows in columns.values():
            shown = [row for row in rows if network in (None, row.network)]
            cells.append(_cell(shown, metrics, show))
        return cells

    lines = [
        [' / '.join(metrics), *columns],
        ['images', *(f'{rows[0].images:,}' for rows in columns.values())],
        line('ours', _ours),
    ]
    for network in networks:
        lines.append(line(f'{network} in the paper', _paper, network))
        lines.append(line('difference', _difference, network))
    return _markdown(lines, right=range(1, len(columns) + 1))


def _alike(results: Sequence[DatasetResult]) -> bool:
    """Tell whether several data sets were measured alike and as wholes."""
    if len(results) == 1 or any(result.scores.groups for result in results):
        return False
    return all(result.metrics.keys() == results[0].metrics.keys() for result in results)


def _cell(rows: Sequence[Row], metrics: Sequence[str], show: Callable[[Row], str]) -> str:
    by_metric = {row.metric: show(row) for row in rows}
    texts = [by_metric.get(metric, '') for metric in metrics]
    return ' / '.join(texts) if any(texts) else ''


def _paper(row: Row) -> str:
    return row.paper


def _ours(row: Row) -> str:
    return 'not measured' if row.ours is None else f'{row.ours:.{_digits(row)}f}'


def _difference(row: Row) -> str:
    return '' if row.difference is None else f'{row.difference:+.{_digits(row)}f}'


def _digits(row: Row) -> int:
    return len(row.paper.partition('.')[2]) or 4


def _markdown(lines: Sequence[Sequence[str]], right: Collection[int]) -> str:
    """Format lines of cells, the first of them the heading, as a table; columns in ``right`` are aligned right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = ['-' * (width - 1) + (':' if column in right else '-') for column, width in enumerate(widths)]
    texts = []
    for cells in (lines[0], rule, *lines[1:]):
        aligned = []
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True)):
            aligned.append(cell.rjust(width) if column in right else cell.ljust(width))
        texts.append(f'| {" | ".join(aligned)} |')
    return '\n'.join(texts)
