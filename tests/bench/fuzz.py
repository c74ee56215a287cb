"""`python tests/bench/fuzz.py --seconds 600`: random requests to the embedded server with the bundled model.

REST bodies by the API's description, random bodies, paths and headers, and changed protobufs, in turn. It fails if a
request gets a 500, if the server's log has a traceback, or if its memory grows.
"""

import argparse
import pathlib
import sys
import tempfile
import time

import harness
import hypothesis
import numpy as np
import psutil
from hypothesis import strategies as st

sys.path += [str(harness.ROOT), *(str(harness.ROOT / "tests" / name) for name in ("", "serving"))]

import servers
import test_fuzz

from fomm_tf import checkpoint
from fomm_tf.export import saved_model

SIZE = 256
# Bytes by which a server may grow after the first round: requests in memory, and what the allocator keeps.
GROWTH = 64 * 2**20


def checks(server):
    """Strategies of requests, and functions that send one and check its answer."""
    frames = {"frames": np.zeros((1, SIZE, SIZE, 3), np.uint8)}
    valid = servers.message("detect_uint8", frames).SerializeToString()
    return [
        (st.one_of(test_fuzz.STRATEGIES).map(lambda case: (case,)), test_fuzz.check_case),
        (st.tuples(*test_fuzz.REST_BYTES), test_fuzz.check_rest_bytes),
        (st.tuples(test_fuzz.JSON_BODIES), test_fuzz.check_body),
        (st.tuples(st.sampled_from(test_fuzz.METHODS), test_fuzz.protobufs(valid)), test_fuzz.check_protobuf),
    ]


def fuzz(server, strategy, check, examples):
    """Sends so many requests."""

    @hypothesis.settings(
        max_examples=examples, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
    )
    @hypothesis.given(strategy)
    def send(request):
        check(server, *request)

    send()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="for all requests (default: %(default)s)")
    parser.add_argument("--examples", type=int, default=100, help="requests of a kind in a row (default: %(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = pathlib.Path(folder) / "fomm"
        saved_model.write(checkpoint.BUNDLED, model)
        with servers.start_embedded(model) as server:
            process, growth, kinds, end = psutil.Process(server.process.pid), [], checks(server), None
            while end is None or time.monotonic() < end:
                for strategy, check in kinds:
                    fuzz(server, strategy, check, arguments.examples)
                if end is None:
                    before, end = process.memory_info().rss, time.monotonic() + arguments.seconds
                growth.append(process.memory_info().rss - before)
        server.process.stderr.seek(0)
        log = server.process.stderr.read()
    middle, last = (growth[index] / 1e6 for index in (len(growth) // 2, -1))
    print(
        f"{len(growth) * len(kinds) * arguments.examples} requests, no 500; memory +{middle:.0f} MB after half, "
        f"+{last:.0f} MB after all; {log.count('Traceback')} tracebacks in the log"
    )
    if "Traceback" in log or growth[-1] > GROWTH:
        print(log[-5000:], file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
