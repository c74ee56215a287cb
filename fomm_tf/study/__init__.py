"""A user study as the paper's Table 2: in which share of pairs people prefer one method to another.

A study is two files. The page is for the participants: one HTML file with all pictures and clips in it, which asks one
question at a time and gives the answers as JSON. The key stays with whoever makes the study: it says which choice of
which question is whose result. The page holds random ids alone, so that the order cannot be told from it.

Convention:
  * a question shows the source, the driving clip and a result of each of two methods, all from one clip in step;
  * a choice is one of the two ids of a question, whatever the side it was shown on;
  * each method is on the left in half of the questions (the odd one is drawn); a participant's page shows all sides as
    they are or all mirrored, and the questions in an order of its own.
"""

from fomm_tf.study.build import Pair, build
from fomm_tf.study.key import Key, read_key
from fomm_tf.study.score import Preference, read_answers, score
from fomm_tf.study.table import as_json, as_markdown

__all__ = [
    "Key",
    "Pair",
    "Preference",
    "as_json",
    "as_markdown",
    "build",
    "read_answers",
    "read_key",
    "score",
]
