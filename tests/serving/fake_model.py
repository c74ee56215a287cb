"""A model of a few sums that has the signatures of an export."""

import zlib

import numpy as np

JPEG = b"\xff\xd8\xff"
_TYPES = {np.float32: "DT_FLOAT", np.uint8: "DT_UINT8", np.bool_: "DT_BOOL", np.object_: "DT_STRING"}


class Model:
    """The signatures of an export, by name and shape, computed with a few sums.

    Args:
      size: (H, W).
      num_keypoints: K.
      jacobian: whether keypoints have Jacobians.
    """

    def __init__(self, size=(6, 8), num_keypoints=2, jacobian=True):
        self.size, self.num_keypoints, self.jacobian = size, num_keypoints, jacobian

    def signatures(self):
        """Returns signature -> (inputs, outputs), each name -> (type, shape)."""
        frame, keypoints = [*self.size, 3], [self.num_keypoints, 2]

        def pose(prefix, *axes):
            tensors = {f"{prefix}value": (np.float32, [*axes, *keypoints])}
            return tensors | ({f"{prefix}jacobian": (np.float32, [*axes, *keypoints, 2])} if self.jacobian else {})

        options = {"relative": (np.bool_, [-1]), "adapt_scale": (np.bool_, [-1])}
        encoded = {name: (np.float32, [-1, -1, -1, 3]) for name in ("image", "features", "source_lowres")}
        encoded |= pose("source_", -1)
        signatures = {
            "transfer": (pose("source_", -1) | pose("driving_", -1, -1) | pose("initial_", -1) | options,
                         pose("", -1, -1)),
            "render": (encoded | pose("", -1, -1), {"prediction": (np.float32, [-1, -1, *frame])}),
        }  # fmt: skip
        for suffix, dtype in {"": np.float32, "_uint8": np.uint8, "_jpeg": np.object_}.items():
            image = [] if suffix == "_jpeg" else frame
            clip = {
                "source": (dtype, [-1, *image]),
                "driving": (dtype, [-1, -1, *image]),
                "use_initial": (np.bool_, [-1]),
            }
            frames = "frames_bytes" if suffix == "_jpeg" else "frames"
            signatures |= {
                f"detect{suffix}": ({"frames": (dtype, [-1, *image])}, pose("", -1)),
                f"encode_source{suffix}": ({"source": (dtype, [-1, *image])}, encoded),
                f"animate{suffix}": (clip | options | pose("initial_", -1),
                                     {frames: (dtype, [-1, -1, *image])} | pose("initial_", -1)),
            }  # fmt: skip
        return signatures

    def metadata(self):
        """Returns the SignatureDefMap as JSON."""

        def describe(tensors):
            return {
                name: {"name": name, "dtype": _TYPES[dtype], "tensor_shape": {"dim": [{"size": str(n)} for n in shape]}}
                for name, (dtype, shape) in tensors.items()
            }

        definitions = {
            name: {"inputs": describe(i), "outputs": describe(o)} for name, (i, o) in self.signatures().items()
        }
        internal = {"inputs": {}, "outputs": {"__saved_model_init_op": {"tensor_shape": {"unknown_rank": True}}}}
        return {"signature_def": definitions | {"__saved_model_init_op": internal}}

    def predict(self, signature, inputs):
        """Checks the inputs and returns the outputs."""
        assert inputs.keys() == self.signatures()[signature][0].keys()
        for name, (dtype, shape) in self.signatures()[signature][0].items():
            array = inputs[name]
            assert array.dtype == dtype, (name, array.dtype)
            assert array.ndim == len(shape), (name, array.shape)
            assert all(size in (-1, got) for size, got in zip(shape, array.shape, strict=True)), (name, array.shape)
        stage, _, _ = signature.partition("_")
        return getattr(self, f"_{stage}")(**inputs)

    def _detect(self, frames, prefix=""):
        statistics = self._statistics(frames)
        value = np.stack([statistics * (k + 1) for k in range(self.num_keypoints)], axis=1)
        jacobian = value[..., np.newaxis] * np.float32([[1, 2], [3, 4]])
        return {f"{prefix}value": value} | ({f"{prefix}jacobian": jacobian} if self.jacobian else {})

    def _statistics(self, frames):
        """Returns two statistics per frame, `[N, 2]`."""
        if frames.dtype == np.object_:
            return np.float32([[zlib.crc32(data) % 997 / 997, len(data) / 1000] for data in frames])
        images = np.float32(frames) / (255 if frames.dtype == np.uint8 else 1)
        return np.float32([[image.mean(), image[0, 0, 1] - image[-1, -1, 2]] for image in images])

    def _encode(self, source):
        image = np.float32(source) / (255 if source.dtype == np.uint8 else 1)
        return {"image": image, "features": 3 * image, "source_lowres": image[:, ::2, ::2]} | self._detect(
            source, "source_"
        )

    def _transfer(self, relative, adapt_scale, **keypoints):
        outputs = {}
        for name in ("value", "jacobian") if self.jacobian else ("value",):
            source, initial = (keypoints[f"{owner}_{name}"][:, np.newaxis] for owner in ("source", "initial"))
            driving = keypoints[f"driving_{name}"]
            moved = source + (driving - initial) * (1.5 if adapt_scale[0] else 1)
            outputs[name] = np.float32(moved if relative[0] else driving)
        return outputs

    def _render(self, image, features, source_lowres, value, **_):
        factor = 1 / (2 + np.abs(value.sum((2, 3))))[..., np.newaxis, np.newaxis, np.newaxis]
        return {"prediction": np.float32((image + features)[:, np.newaxis] / 4 * factor)}

    def _animate(self, source, driving, use_initial, relative, adapt_scale, **initial):
        """Computes a batch of 1."""
        detected = self._detect(driving[0])
        initial = {
            f"initial_{name}": initial[f"initial_{name}"] if use_initial[0] else keypoints[:1]
            for name, keypoints in detected.items()
        }
        poses = {f"driving_{name}": keypoints[np.newaxis] for name, keypoints in detected.items()}
        moved = self._transfer(relative, adapt_scale, **self._detect(source, "source_"), **poses, **initial)
        if source.dtype == np.object_:
            images = [JPEG + source[0] + repr(pose.round(4).tolist()).encode() for pose in moved["value"][0]]
            frames = np.empty((1, len(images)), np.object_)
            frames[0] = images
            return {"frames_bytes": frames} | initial
        encoded = self._encode(source)
        frames = self._render(encoded["image"], encoded["features"], None, moved["value"])["prediction"]
        return {"frames": np.uint8(np.rint(frames * 255)) if source.dtype == np.uint8 else frames} | initial
