"""`fomm prepare`: cuts any videos into clips for training, by the paper's recipe.

An object is detected in a first frame and tracked until it is lost, has moved too far, or the scene changes. These
frames are cropped by the smallest square, with a margin, that holds all the boxes, and resized. The next segment begins
where that one ended. Segments that are too short, too small or too near the frame's edge are dropped; a table lists the
reasons.

Convention:
  * boxes are (left, top, right, bottom) in pixels of the upright frame, as in `fomm_tf.detectors`;
  * frames are counted from 0, at the requested rate;
  * a video is read twice, to plan and to write its clips, so that memory does not grow with its length;
  * the output depends on the videos, the settings and the versions of the libraries only, not on the number of
    processes or on interruptions.

Source: Siarohin et al., First Order Motion Model for Image Animation (2019), sec. 4, Datasets, with other
detectors.
"""
