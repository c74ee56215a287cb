"""Configs as nested mappings, and the error for those that cannot be read."""

import pytest

from fomm_tf import config, errors


def parse_error(tree):
    with pytest.raises(errors.UserError) as caught:
        config.parse(tree, "a.yaml")
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix("a.yaml: ")


def nest(path, value):
    for key in reversed(path.split(".")):
        value = {key: value}
    return value
