"""Grids of labeled images, and the text that labels them."""

import numpy as np
import pytest

from fomm_tf import video, visualize

WHITE = 255


def plain(value, size=(48, 64)):
    """No grey, which letters have too."""
    return np.full((*size, 3), (value, 0, 255), np.uint8)


def places(figure, value):
    """Box of the pixels of a plain cell: top, left, height, width."""
    rows, columns = np.nonzero((figure == (value, 0, 255)).all(axis=2))
    return rows.min(), columns.min(), np.ptp(rows) + 1, np.ptp(columns) + 1


def test_draw_grid_places_cells_in_rows_and_columns():
    rows = [visualize.Row("one", [plain(101), plain(102)]), visualize.Row("two", [plain(103), plain(104)])]
    figure = visualize.draw_grid(rows, ["a", "b"], (48, 64))
    boxes = [places(figure, value) for value in (101, 102, 103, 104)]
    assert all(box[2:] == (48, 64) for box in boxes)
    (a, b, c, d), gap = boxes, 2
    assert b[1] == a[1] + 64 + gap and c[0] == a[0] + 48 + gap
    assert (a[0], a[1], c[1], d[0]) == (b[0], c[1], a[1], c[0]) and d[1] == b[1]


def test_draw_grid_places_labels_above_columns_and_beside_rows():
    figure = visualize.draw_grid([visualize.Row("row", [plain(101), plain(102)])], ["first", ""], (96, 96))
    top, left = places(figure, 101)[:2]
    dark = (figure < 200).all(axis=2)
    above, beside = dark[:top], dark[:, :left]
    assert above[:, left : left + 96].any() and not above[:, left + 98 :].any()
    tall, wide = (np.ptp(np.nonzero(beside)[axis]) + 1 for axis in (0, 1))
    assert tall > wide


def test_draw_grid_leaves_empty_cells_white_and_separates_groups():
    rows = [visualize.Row("", [plain(101), None]), visualize.Row("", [plain(103), plain(104)], starts_group=True)]
    figure = visualize.draw_grid(rows, ["", ""], (48, 64))
    top, left = places(figure, 101)[:2]
    assert (figure[top : top + 48, left + 64 :] == WHITE).all()
    assert places(figure, 103)[0] == top + 48 + 8


@pytest.mark.parametrize("longest", [1, 20, 60, 1000])
def test_draw_text_cuts_off_long_text(longest):
    image = video.draw_text("a rather long name of a run", 24, longest)
    assert image.shape[0] == 24 and image.shape[1] <= longest and image.dtype == np.uint8
    assert (image < 100).any() == (longest > 1)


def test_draw_text_width_grows_with_the_text():
    widths = [video.draw_text(text, 24, 1000).shape[1] for text in ("", "i", "iii", "www")]
    assert widths == sorted(set(widths))
