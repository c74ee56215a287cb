"""What the variants change, and the config of each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from fomm_tf import config, errors

FULL, ZEROTH_ORDER = "full", "pyramid-occlusion"


class Variant(NamedTuple):
    """A row of Table 1.

    Attributes:
      title: the paper's name.
      paper: the paper's L1, on Tai-Chi-HD.
    """

    title: str
    paper: float


VARIANTS = {
    "baseline": Variant("Baseline", 0.073),
    "pyramid": Variant("Pyr.", 0.069),
    ZEROTH_ORDER: Variant("Pyr.+O", 0.069),
    "no-jacobian-equivariance": Variant("Jac. w/o Eq. 12", 0.073),
    FULL: Variant("Full", 0.063),
}


def changes(name: str) -> dict[str, object]:
    """The keys `section.key` that set a variant apart from Full, with their values in the variant."""
    recipes = config.recipes()
    full, variant = (config.load(recipes[f"ablation/{which}"]) for which in (FULL, name))
    return {key: value for key, (_, value) in config.differences(full, variant).items()}


def configure(base: config.Config, names: Sequence[str], source: str) -> dict[str, config.Config]:
    """The config of each variant.

    Args:
      base: the recipe of the full model.
      names: some of `VARIANTS`.
      source: what the recipe is called in an error.

    Raises:
      errors.UserError: if the recipe has already what a variant changes, and so is not the full model.
    """
    found = {}
    for name in names:
        changed = changes(name)
        found[name] = config.override(base, [f"{key}={json.dumps(value)}" for key, value in changed.items()])
        missing = changed.keys() - config.differences(base, found[name]).keys()
        if missing:
            key = min(missing)
            raise errors.UserError(
                f"{source} has {key}={json.dumps(changed[key])} already, which is what sets {name} apart from full; "
                "give --config a recipe of the full model, or leave the variant out."
            )
    return found
