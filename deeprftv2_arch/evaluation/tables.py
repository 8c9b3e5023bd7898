"""The tables at the end of a test, in Markdown: our figures beside the paper's."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deeprftv2_arch.evaluation.results import DatasetResult, Row


def table(results: Mapping[str, DatasetResult]) -> str:
    """All figures of a test beside the paper's.

    Several data sets on which the same was measured stand side by side, as in the tables of papers; otherwise every
    figure has a line of its own.
    """
    return table_across(results) if _alike(list(results.values())) else table_in_full(results)


def table_in_full(results: Mapping[str, DatasetResult]) -> str:
    """A line for each figure."""
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
    """A column for each data set; its metrics share a cell, the figures as many digits as the paper prints."""
    columns = {name: list(result.rows()) for name, result in results.items()}
    metrics = list(dict.fromkeys(row.metric for row in next(iter(columns.values()))))
    networks = list(dict.fromkeys(row.network for rows in columns.values() for row in rows if row.network))
    lines = [[' / '.join(metrics), *columns], ['images', *(f'{rows[0].images:,}' for rows in columns.values())]]
    lines.append(['ours', *(_cell(rows, metrics, _ours) for rows in columns.values())])
    for network in networks:
        own = [[row for row in rows if row.network == network] for rows in columns.values()]
        lines.append([f'{network} in the paper', *(_cell(rows, metrics, lambda row: row.paper) for rows in own)])
        lines.append(['difference', *(_cell(rows, metrics, _difference) for rows in own)])
    return _markdown(lines, right=range(1, len(columns) + 1))


def _alike(results: Sequence[DatasetResult]) -> bool:
    return len(results) > 1 and all(
        result.metrics.keys() == results[0].metrics.keys() and not result.scores.groups for result in results
    )


def _cell(rows: Sequence[Row], metrics: Sequence[str], show: Callable[[Row], str]) -> str:
    by_metric = {row.metric: show(row) for row in rows}
    texts = [by_metric.get(metric, '') for metric in metrics]
    return ' / '.join(texts) if any(texts) else ''


def _ours(row: Row) -> str:
    return 'not measured' if row.ours is None else f'{row.ours:.{_digits(row)}f}'


def _difference(row: Row) -> str:
    return '' if row.difference is None else f'{row.difference:+.{_digits(row)}f}'


def _digits(row: Row) -> int:
    return len(row.paper.partition('.')[2]) or 4


def _markdown(cells: Sequence[Sequence[str]], right: Collection[int]) -> str:
    """Lines of cells, the first of them the heading, as a table; columns in ``right`` are aligned to the right."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]

    def line(texts: Sequence[str]) -> str:
        aligned = (
            text.rjust(width) if column in right else text.ljust(width)
            for column, (text, width) in enumerate(zip(texts, widths, strict=True))
        )
        return f'| {" | ".join(aligned)} |'

    rule = ['-' * (width - 1) + (':' if column in right else '-') for column, width in enumerate(widths)]
    return '\n'.join([line(cells[0]), line(rule), *map(line, cells[1:])])
