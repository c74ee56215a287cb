"""What happens in a run's own process: it is trained, or trained on, and then judged.

python -m fomm_tf.ablation.work TASK      the JSON of a `Task`; started by `fomm_tf.ablation.process`
"""

from __future__ import annotations

import json
import os
import sys
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fomm_tf import config, console

RECONSTRUCTION, ANIMATION = "reconstruction", "animation"


class Task(NamedTuple):
    """A run to train and to judge; as JSON it goes to a process of its own.

    Attributes:
      settings: the config, as a mapping of sections.
      folder: the run folder.
      results: folder for what the evaluations write.
      data: whose test part is rebuilt.
      pairs: a list of pairs to animate too, or None.
      metrics: of the reconstruction; see `fomm_tf.inference.evaluation`.
      detector: likewise.
      command: what started all this, for README.txt.
    """

    settings: dict[str, Any]
    folder: str
    results: str
    data: str
    pairs: str | None
    metrics: list[str]
    detector: str
    command: str


def main(argv: Sequence[str]) -> int:
    """Does the task that `argv` holds and returns the exit code."""
    return console.run("ablation", lambda: _work(Task(**json.loads(argv[0]))))


def _work(task: Task) -> None:
    _end_with_the_command()
    console.prepare_tensorflow(verbose=False)
    warnings.simplefilter("ignore")
    warnings.simplefilter("always", UserWarning)
    warnings.showwarning = lambda message, *_: print(f"warning: {message}")

    from fomm_tf import evaluation
    from fomm_tf.training import loop

    folder, results = Path(task.folder), Path(task.results)
    begun = (folder / "config.yaml").is_file()
    loop.run(None if begun else config.parse(task.settings), folder, resume=begun, command=task.command)
    judged = evaluation.Settings(metrics=tuple(task.metrics), detector=task.detector)
    evaluation.evaluate(folder, task.data, results / RECONSTRUCTION, judged)
    if task.pairs is not None:
        l1 = evaluation.Settings(metrics=("l1",))
        evaluation.evaluate(folder, Path(task.pairs).parent, results / ANIMATION, l1, task.pairs)


def _end_with_the_command() -> None:
    """Nothing goes on without the command, not even after `kill -9`: that closes the pipe to it."""
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(1)), daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
