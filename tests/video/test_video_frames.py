"""Frames in memory: conversion to uint8 and resizing."""

import builtins
import sys

import numpy as np
import pytest

from fomm_tf import errors, video


def test_to_uint8_scales_floats():
    np.testing.assert_array_equal(
        video.to_uint8(np.array([0, 0.5, 1, 1.0004, -0.0004], np.float32)), [0, 128, 255, 255, 0]
    )
    every = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(video.to_uint8(every / np.float32(255)), every)
    assert video.to_uint8(every) is every


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([0.5, np.nan], "NaN or infinity"),
        ([np.inf, 0.5], "NaN or infinity"),
        ([0.0, 255.0], "must be in \\[0, 1\\]; got 0 to 255"),
        ([-1.0, 1.0], "must be in \\[0, 1\\]; got -1 to 1"),
        ([1, 2], "got int64"),
    ],
)
def test_to_uint8_rejects_other_values(frames, message):
    with pytest.raises(errors.UserError, match=message):
        video.to_uint8(np.array(frames))


def test_resize_averages_areas_when_shrinking():
    frame = np.random.default_rng(0).integers(0, 256, (12, 24, 3), np.uint8)
    mean = frame.reshape(4, 3, 4, 6, 3).mean((1, 3))
    assert np.abs(video.resize(frame, (4, 4), "stretch") - mean).max() <= 1
    # One axis shrinks, the other stays or grows: the shrinking one is still averaged.
    mean = frame.reshape(12, 4, 6, 3).mean(2)
    assert np.abs(video.resize(frame, (12, 4), "stretch") - mean).max() <= 1
    assert np.abs(video.resize(frame, (24, 4), "stretch")[0] - mean[0]).max() <= 1


def test_resize_crop_keeps_the_center():
    frame = np.zeros((8, 16, 3), np.uint8)
    frame[:, 4:12] = 255
    np.testing.assert_array_equal(video.resize(frame, (4, 4)), np.full((4, 4, 3), 255))
    np.testing.assert_array_equal(video.resize(frame.transpose(1, 0, 2), (4, 4)), np.full((4, 4, 3), 255))
    np.testing.assert_array_equal(video.resize(frame, (4, 8)), video.resize(frame, (4, 8), "stretch"))


def test_resize_pad_keeps_all_between_black_bars():
    padded = video.resize(np.full((8, 16, 3), 255, np.uint8), (8, 8), "pad")
    np.testing.assert_array_equal(padded[:, 0, 0], [0, 0, 255, 255, 255, 255, 0, 0])


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (3, 1000), (7, 5)])
@pytest.mark.parametrize("size", [(4, 4), (64, 32), (5, 90), (1, 1)])
def test_resize_returns_any_requested_size(fit, shape, size):
    frame = np.full((*shape, 3), 0.5, np.float32)
    resized = video.resize(frame, size, fit)
    assert resized.shape == (*size, 3) and resized.dtype == np.float32
    assert fit == "pad" or np.abs(resized - 0.5).max() < 1e-6


def test_resize_rejects_unknown_fit():
    with pytest.raises(errors.UserError, match="must be crop, pad or stretch"):
        video.resize(np.zeros((2, 2, 3), np.uint8), (4, 4), "cover")


def test_resize_reports_missing_system_library(monkeypatch):
    importing = builtins.__import__

    def fail(name, *arguments, **options):
        if name == "cv2":
            raise ImportError("libGL.so.1: cannot open shared object file: No such file or directory")
        return importing(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", fail)
    monkeypatch.delitem(sys.modules, "fomm_tf.opencv", raising=False)
    with pytest.raises(errors.UserError, match=r"libGL\.so\.1.*libgl1 and libglib2\.0-0.*opencv-python-headless"):
        video.resize(np.zeros((2, 2, 3), np.uint8), (4, 4))
