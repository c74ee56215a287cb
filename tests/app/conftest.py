import disc_engine
import pages
import pytest


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """The cache of the page; downloads that other tests share stay where they are."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def engine():
    return disc_engine.DiscEngine()


@pytest.fixture(scope="module")
def address(cache, engine):
    """A page with the model of `engine`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOMM_TF_CACHE", str(cache))
        with pages.serve(engine) as url:
            yield url
