"""`fomm prepare`: videos as people have them become clips to train on, by the paper's recipe.

An object's box is found in a first frame and followed until it is lost, too far from where it was, or the scene
changes; then all frames between are cut out by the smallest square, with some margin, that holds all the boxes, and
resized. The next stretch begins where that one ended, to the end of the video. What is too short, too small or too near
the frame's edge is dropped, and written down with the reason.

Convention:
  * boxes are (left, top, right, bottom) in pixels of the upright frame, as in `fomm_tf.detectors`;
  * frames are counted from 0, at the rate asked for;
  * a video is read twice, to look and to cut: memory does not grow with its length;
  * what is written depends on the videos, the settings and this machine's libraries alone, not on how many worked at it
    or how often it was stopped.

Source: Siarohin et al., First Order Motion Model for Image Animation (2019), sec. 4, Datasets. Their detectors are
others.
"""
