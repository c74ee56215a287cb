"""Third-party networks that find faces, bodies and who it is, and the door for the user's own.

Convention:
  * a detector is a function of N frames, a sequence of `[H, W, 3]` uint8 RGB or one array of them; what it finds in a
    frame does not depend on the others: the same frame gives the same bytes in any batch;
  * places are (x, y) in pixels of the frame, counted from its upper left corner: the frame reaches from (0, 0) to
    (W, H), its first pixel's center is (0.5, 0.5);
  * what is not found is NaN, with visibility 0 or `found` false; a point counts as found from visibility 0.5 on;
  * an object holds its networks and serves one thread at a time; nothing is global. The first loads TensorFlow.

The networks come from the cache of `fomm fetch detectors`, and are fetched if they are not there.

They are not the detectors of the paper's tables: their numbers compare variants with each other, not with the paper's.
"""

from fomm_tf.detectors.bodies import BodyBoxes, BodyPoints
from fomm_tf.detectors.faces import FaceBoxes, FacePoints
from fomm_tf.detectors.identity import SAME_PERSON, FaceIdentity
from fomm_tf.detectors.loading import BOXES, EMBEDDINGS, POINTS, Detector, load_boxes, load_embedding, load_points
from fomm_tf.detectors.results import Boxes, Embeddings, Points

__all__ = [
    "BOXES",
    "EMBEDDINGS",
    "POINTS",
    "SAME_PERSON",
    "BodyBoxes",
    "BodyPoints",
    "Boxes",
    "Detector",
    "Embeddings",
    "FaceBoxes",
    "FaceIdentity",
    "FacePoints",
    "Points",
    "load_boxes",
    "load_embedding",
    "load_points",
]
