"""ICC profiles: colors of an image -> sRGB, by Pillow's ImageCms (Little CMS)."""

import io
import warnings
from pathlib import Path

from PIL import Image, ImageCms

# The mode that a profile of each color space takes.
_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}


def to_srgb(path: Path, image: Image.Image) -> Image.Image:
    """Applies the embedded profile of an 8-bit image.

    Args:
      path: for messages.
      image: of any mode; it is returned as it is if it has no profile, or one of sRGB.

    Returns:
      Mode RGB, or RGBA if the image has transparency.

    Warns:
      UserWarning: if the profile is damaged or belongs to another kind of image; it is ignored.
    """
    data = image.info.get("icc_profile")
    if not data:
        return image
    has_alpha = image.has_transparency_data
    opaque = image.convert("RGBA" if has_alpha else "RGB") if image.mode in ("P", "PA") else image
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        if "sRGB" in ImageCms.getProfileDescription(profile):
            return image
        mode = _MODES.get(profile.profile.xcolor_space.strip(), "")
        if not mode or (opaque.mode == "CMYK") != (mode == "CMYK") or (mode == "L" and opaque.mode not in ("L", "LA")):
            raise ImageCms.PyCMSError(f"it describes {profile.profile.xcolor_space.strip()}, not {image.mode}")
        colors = ImageCms.profileToProfile(
            opaque.convert(mode), profile, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        warnings.warn(f"{path} has an ICC profile that cannot be used ({error}); it is ignored.", stacklevel=2)
        return image
    if has_alpha:
        colors.putalpha(image.convert("RGBA").getchannel("A"))
    return colors
