"""Third-party detectors of faces, bodies and identities, and an interface for custom ones.

Convention:
  * a detector is a function of N frames: a sequence of `[H, W, 3]` uint8 RGB, or one array of them. Frames are
    processed independently: the same frame gives the same bytes in any batch;
  * points are (x, y) in pixels; the frame spans (0, 0) to (W, H), the center of its first pixel is (0.5, 0.5);
  * what is not found is NaN, with visibility 0 or `found` false; a point is found if its visibility is at least 0.5;
  * an object owns its networks and serves one thread at a time; the first one loads TensorFlow.

The networks are those of `fomm fetch detectors`, and are downloaded if they are not in the cache. They differ from the
detectors of the paper's tables: use their numbers to compare models with each other, not with the paper.
"""

from fomm_tf.detectors.face_embedding import SAME_PERSON, FaceIdentity
from fomm_tf.detectors.mediapipe import BodyBoxes, BodyPoints, FaceBoxes, FacePoints
from fomm_tf.detectors.registry import BOXES, EMBEDDINGS, POINTS, Detector, load_boxes, load_embedding, load_points
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
