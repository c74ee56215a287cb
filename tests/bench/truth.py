"""`python tests/bench/truth.py`: how well a model carries motion from one drawn head to another it has never seen.

The true animation is known: the other head is drawn in the same poses. L1 in shares of that of copying the picture,
with a 95 % bootstrap interval over the pairs.
"""

import argparse

import numpy as np
import tqdm

from fomm_tf.data import puppets
from fomm_tf.inference import animator


def draw(who, poses, side):
    identity = puppets.sample_identity(who, portrait=True)
    return np.stack([puppets.draw(identity, pose, side) for pose in poses])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", default=animator.BUNDLED, help="the model (default: the bundled one)")
    parser.add_argument("--pairs", type=int, default=30, help="(default: %(default)s)")
    parser.add_argument("--frames", type=int, default=24, help="of a clip (default: %(default)s)")
    arguments = parser.parse_args()
    model = animator.Animator.load(arguments.run)
    side, errors = model.config.model.frame_size[0], []
    for number in tqdm.trange(arguments.pairs, unit="pair", disable=None):
        # Odd seeds belong to test sets alone.
        shown, driving, moved = (2 * int(seed) + 1 for seed in np.random.SeedSequence(number).generate_state(3))
        poses = puppets.sample_motion(moved, arguments.frames, portrait=True)
        truth = np.float32(draw(shown, poses, side)) / 255
        made = np.stack(list(model.animate(truth[0], iter(np.float32(draw(driving, poses, side)) / 255))))
        errors.append((np.abs(made - truth).mean(), np.abs(truth[:1] - truth).mean()))
    errors, rng = np.array(errors), np.random.default_rng(0)
    drawn = errors[rng.integers(0, len(errors), [2000, len(errors)])].sum(axis=1)
    low, high = np.percentile(drawn[:, 0] / drawn[:, 1], [2.5, 97.5])
    mine, copied = errors.mean(axis=0)
    print(
        f"L1 against the true animation {mine:.4f}, that of copying {copied:.4f}: {mine / copied:.3f} of copying "
        f"(95 %: {low:.3f} to {high:.3f}; {len(errors)} pairs of {arguments.frames} frames)"
    )


if __name__ == "__main__":
    main()
