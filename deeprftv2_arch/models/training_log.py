"""Every logged value of a training in a CSV file, for curves; a resumed training continues it without a seam."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from deeprftv2_arch.utils.atomic_file import cannot_write, write_atomically

FILE_NAME = 'values.csv'
"""Where it stands in the folder of an experiment."""

COLUMNS = ('iteration', 'name', 'value')


class TrainingLog:
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
        self._restart_clock()

    def count_images(self, images: int) -> None:
        """Count the images of an iteration, over all processes."""
        self._images += images

    def add_training(
        self, iteration: int, values: Mapping[str, float], learning_rate: float, crop: tuple[int, int]
    ) -> None:
        """Append the values of an iteration, and the images per second since the last such call.

        Args:
            iteration: Its number.
            values: Losses and the like, by name.
            learning_rate: The rate of this iteration.
            crop: Height and width of the images in pixels.

        Raises:
            UserError: The file cannot be written.
        """
        speed = self._images / (time.perf_counter() - self._since)
        self._restart_clock()
        values = {
            **values,
            'lr': learning_rate,
            'crop_height': crop[0],
            'crop_width': crop[1],
            'images_per_second': speed,
        }
        self.add(iteration, {f'train/{name}': value for name, value in values.items()})

    def add_validation(self, iteration: int, dataset: str, values: Mapping[str, float]) -> None:
        """Append the metric values of a validation; the time it took does not count as training.

        Raises:
            UserError: The file cannot be written.
        """
        self.add(iteration, {f'val/{dataset}/{name}': value for name, value in values.items()})
        self._restart_clock()

    def add(self, iteration: int, values: Mapping[str, float]) -> None:
        """Append values of one iteration.

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

    def _restart_clock(self) -> None:
        self._since, self._images = time.perf_counter(), 0

    def _rewrite(self, rows: list[tuple[int, str, float]]) -> None:
        text = io.StringIO(newline='')
        writer = csv.writer(text)
        writer.writerow(COLUMNS)
        writer.writerows((iteration, name, repr(value)) for iteration, name, value in rows)
        write_atomically(self.path, text.getvalue())


def read_values(path: str | Path) -> dict[str, list[tuple[int, float]]]:
    """Read what a :class:`TrainingLog` has written.

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
