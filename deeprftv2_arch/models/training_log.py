"""Every logged value of a training in a CSV file, which a resumed training continues without a seam."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path

from deeprftv2_arch.utils.atomic_file import cannot_write, write_atomically

FILE_NAME = 'values.csv'
"""Where it stands in the folder of an experiment."""

COLUMNS = ('iteration', 'name', 'value')


class ValueLog:
    """Appends to a CSV file with one row for each value: ``iteration,name,value``.

    Rows are never wider than that, so values may come and go during a training.

    Args:
        path: The file; it and its folder are made when the first value comes.
        done: Iterations done before. Rows of later ones were written by a training that was interrupted after its last
            checkpoint, and are removed: they will come again.

    Raises:
        UserError: The file cannot be written.
    """

    def __init__(self, path: str | Path, done: int = 0) -> None:
        self.path = Path(path)
        if self.path.is_file():
            self._rewrite([row for row in _rows(self.path) if row[0] <= done])

    def add(self, iteration: int, values: Mapping[str, float]) -> None:
        """Append the values of one iteration.

        Raises:
            UserError: The file cannot be written.
        """
        if not self.path.is_file():
            self._rewrite([])
        try:
            with open(self.path, 'a', newline='', encoding='utf-8') as stream:
                csv.writer(stream).writerows((iteration, name, repr(float(value))) for name, value in values.items())
        except OSError as error:
            raise cannot_write(self.path, error.strerror) from error

    def _rewrite(self, rows: list[tuple[int, str, float]]) -> None:
        text = io.StringIO(newline='')
        writer = csv.writer(text)
        writer.writerow(COLUMNS)
        writer.writerows((iteration, name, repr(value)) for iteration, name, value in rows)
        write_atomically(self.path, text.getvalue())


def read_values(path: str | Path) -> dict[str, list[tuple[int, float]]]:
    """Read what a :class:`ValueLog` has written.

    Returns:
        For each name the pairs of iteration and value, in the order of the file. A row that a kill cut short is left
        out.

    Raises:
        OSError: The file cannot be read.
    """
    series: dict[str, list[tuple[int, float]]] = {}
    for iteration, name, value in _rows(Path(path)):
        series.setdefault(name, []).append((iteration, value))
    return series


def _rows(path: Path) -> Iterator[tuple[int, str, float]]:
    text = path.read_text(encoding='utf-8')
    whole = text[: text.rfind('\n') + 1]  # the last row may lack its end
    for row in list(csv.reader(whole.splitlines()))[1:]:
        if len(row) == len(COLUMNS):
            yield int(row[0]), row[1], float(row[2])
