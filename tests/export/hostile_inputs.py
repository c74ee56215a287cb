"""Keypoints that no detector returns, for any runner of exported files."""

import numpy as np

from fomm_tf.export import examples


def check_survives(pipeline):
    """Hostile keypoints give a frame, not a crash, and the next valid frame is unchanged."""
    size = pipeline.description["frame_size"]
    clip = np.float32(examples.draw(size, 2)) / 255
    expected = list(pipeline.animate(clip[0], clip))[1]
    encoded, good = pipeline.encode_source(clip[0]), pipeline.detect(clip[1])
    for odd in (np.nan, np.inf, -np.inf, 1e30, -5.0, 0.0):
        odd_points = {name: np.full_like(value, odd) for name, value in good.items()}
        for driving, initial in ((odd_points, good), (good, odd_points), (odd_points, odd_points)):
            for adapt_scale in (True, False):
                frame = pipeline.render(encoded, driving, initial, True, adapt_scale)
                assert frame.shape == (*size, 3)
        pipeline.run("detector", {"frame": np.full([1, *size, 3], odd, np.float32)})
    np.testing.assert_array_equal(list(pipeline.animate(clip[0], clip))[1], expected)
