"""`python tests/bench/load.py`: the embedded server with the bundled model, under 1, 4, 16 and 64 clients.

* load: requests per second and latencies of clients that send by gRPC without pause, with and without batching of
  requests;
* a full server: clients beyond `--queue`, and how they are answered;
* attacks: the same clients, with a tenth of them hostile and without, in turn; wrong answers and memory of the server.
  With `--attacks` it fails if there are any, if the 99th percentile more than doubles, or if memory grows;
* overhead: what a single client waits for beyond the signature itself (called in this process, in turn with the
  requests) and the codec (the message's way to and from bytes, both sides, timed here).
"""

import collections
import concurrent.futures
import contextlib
import multiprocessing
import pathlib
import sys
import tempfile
import time

import grpc
import harness
import httpx
import numpy as np
import psutil
import tensorflow as tf
import tqdm
from tensorflow_serving.apis import predict_pb2

sys.path += [str(harness.ROOT), *(str(harness.ROOT / "tests" / name) for name in ("", "serving"))]

import hostile_clients
import servers

from fomm_tf import checkpoint
from fomm_tf.export import examples, saved_model
from fomm_tf.serving import rest_transport
from fomm_tf.serving.local import inputs as declared
from fomm_tf.serving.local import json_codec
from fomm_tf.serving.signatures import Call
from fomm_tf.serving.target import Target

CLIENTS = (1, 4, 16, 64)
FRAMES = 8
# How often clients attack, and what that may cost: the median ratio of the 99th percentiles with and without, and the
# growth of the server from the first attack to the last.
ATTACKS = 4
BOUNDS = {"wrong": 0, "p99_ratio": 2.0, "growth_mb": 128}
SIZES = declared.Sizes(max_frames=10**9, max_bytes=10**9)


def requests_of(signatures):
    """Label -> signature and inputs."""
    inputs_of = examples.make(signatures, FRAMES)
    arrays = {name: {key: tensor.numpy() for key, tensor in inputs.items()} for name, inputs in inputs_of.items()}
    one = {"frames": arrays["detect_uint8"]["frames"][:1]}
    labels = {"detect_uint8, 1 frame": ("detect_uint8", one)}
    return labels | {f"{name}, {FRAMES} frames": (name, arrays[name]) for name in ("animate_uint8", "animate_jpeg")}


def send_all(server, request, clients, seconds):
    """Latencies of successful requests, number of rejected ones by status code, and the total time."""
    stubs = [servers.Server(server.grpc, server.rest).predictions for _ in range(clients)]
    latencies, rejected = [], collections.Counter()
    end = time.perf_counter() + seconds

    def send(stub):
        while time.perf_counter() < end:
            start = time.perf_counter()
            try:
                stub.Predict(request, timeout=servers.SECONDS)
                latencies.append(time.perf_counter() - start)
            except grpc.RpcError as error:
                rejected[error.code().name] += 1

    start = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        list(pool.map(send, stubs))
    return latencies, dict(rejected), time.perf_counter() - start


def measure_load(model, requests, numbers, seconds):
    """Measures each number of clients, with batched requests and without."""
    records = {}
    for rows in (8, 1):
        with servers.start_embedded(model, "--max-batch", rows) as server:
            for label in list(requests)[:2]:
                request = servers.message(*requests[label])
                server.predictions.Predict(request)
                for clients in numbers:
                    latencies, rejected, total = send_all(server, request, clients, seconds)
                    low, middle, high = 1000 * np.percentile(latencies, [50, 95, 99])
                    name = f"{label}, {clients} clients, {'batched up to 8' if rows > 1 else 'unbatched'}"
                    records[name] = {
                        "per_second": round(len(latencies) / total, 1),
                        "p50_ms": round(low, 1),
                        "p95_ms": round(middle, 1),
                        "p99_ms": round(high, 1),
                        "rejected": rejected,
                    }
                    print(
                        f"{name}: {records[name]['per_second']} per second; p50 {low:.0f}, p95 {middle:.0f}, "
                        f"p99 {high:.0f} ms; rejected {sum(rejected.values())}",
                        flush=True,
                    )
    return records


def measure_full(model, requests, seconds, queue=16):
    """Measures four times as many clients as the server accepts."""
    label = next(iter(requests))
    with servers.start_embedded(model, "--queue", queue) as server:
        server.call(*requests[label])
        latencies, rejected, _ = send_all(server, servers.message(*requests[label]), 4 * queue, seconds)
    print(f"{4 * queue} clients, --queue {queue}: {len(latencies)} completed; rejected: {rejected}")
    return {"completed": len(latencies), "rejected": rejected}


def measure_attacks(model, requests, seconds, clients=64):
    """Latencies of honest clients, which check each answer, beside hostile ones and without, in turn."""
    signature, inputs = next(iter(requests.values()))
    message, honest = servers.message(signature, inputs), clients - clients // 10
    kinds = {"honest": [], "a tenth hostile": []}
    with (
        servers.start_embedded(model, "--idle-timeout", 2) as server,
        hostile_process(server, clients - honest) as attack,
    ):
        # A signature's graph is built at its first run.
        hostile_clients.send_image(server, 32, 32)
        hostile_clients.send_clip(server, 1)
        expected, process = server.call(signature, inputs), psutil.Process(server.process.pid)
        stubs = [servers.Server(server.grpc, server.rest).predictions for _ in range(honest)]
        for kind in [*kinds] * ATTACKS:
            with attack() if kind != "honest" else contextlib.nullcontext():
                latencies, wrong, refused = send_checked(stubs, message, expected, seconds * 2 / ATTACKS)
            while servers.metric(server, "admitted_requests"):  # what was abandoned
                time.sleep(1)
            middle, high = 1000 * np.percentile(latencies, [50, 99])
            record = {"answers": len(latencies), "wrong": wrong, "refused": refused}
            record |= {"p50_ms": round(middle, 1), "p99_ms": round(high, 1)}
            kinds[kind].append(record | {"rss_mb": round(process.memory_info().rss / 1e6)})
            print(f"{clients} clients, {kind}: {kinds[kind][-1]}", flush=True)
    pairs = list(zip(*kinds.values(), strict=True))
    summary = {
        "wrong": sum(record["wrong"] for pair in pairs for record in pair),
        "p99_ratio": round(float(np.median([hostile["p99_ms"] / quiet["p99_ms"] for quiet, hostile in pairs])), 2),
        "growth_mb": pairs[-1][1]["rss_mb"] - pairs[0][1]["rss_mb"],
    }
    print(f"beside hostile clients: {summary}; expected at most {BOUNDS}", flush=True)
    return {"phases": kinds, "summary": summary}


def send_checked(stubs, message, expected, seconds):
    """Latencies, number of wrong answers, and number of rejected requests by status code."""
    latencies, refused, end = [], collections.Counter(), time.perf_counter() + seconds

    def send(stub):
        wrong = 0
        while time.perf_counter() < end:
            start = time.perf_counter()
            try:
                outputs = stub.Predict(message, timeout=servers.SECONDS).outputs
            except grpc.RpcError as error:
                refused[error.code().name] += 1
                time.sleep(1)  # as the server asks
                continue
            latencies.append(time.perf_counter() - start)
            same = (np.allclose(tf.make_ndarray(outputs[name]), expected[name], atol=1e-5) for name in expected)
            wrong += not all(same)
        return wrong

    with concurrent.futures.ThreadPoolExecutor(len(stubs)) as pool:
        wrong = sum(pool.map(send, stubs))
    return latencies, wrong, dict(refused)


@contextlib.contextmanager
def hostile_process(server, count):
    """Yields a context manager that attacks, from a process whose interpreter honest clients do not wait for."""
    context = multiprocessing.get_context("spawn")
    connection, other = context.Pipe()
    process = context.Process(target=attack_on_command, args=(other, server.grpc, server.rest, count), daemon=True)
    process.start()
    other.close()
    connection.recv()

    @contextlib.contextmanager
    def attack():
        connection.send(True)
        try:
            yield
        finally:
            connection.send(False)
            connection.recv()

    try:
        yield attack
    finally:
        connection.close()
        process.join()


def attack_on_command(connection, *arguments):
    """Attacks from one message to the next, until the other end is closed."""
    *addresses, count = arguments
    server = servers.Server(*addresses)
    hostile_clients.prepare()
    with contextlib.suppress(EOFError):
        while True:
            connection.send(True)
            connection.recv()
            with hostile_clients.attack(server, count):
                connection.recv()


def grpc_codec(signature, inputs, outputs):
    """Encodes and decodes a request and a response."""
    sent = predict_pb2.PredictRequest.FromString(servers.message(signature, inputs).SerializeToString())
    for tensor in sent.inputs.values():
        tf.make_ndarray(tensor)
    response = predict_pb2.PredictResponse(
        outputs={name: tf.make_tensor_proto(array) for name, array in outputs.items()}
    )
    for tensor in predict_pb2.PredictResponse.FromString(response.SerializeToString()).outputs.values():
        tf.make_ndarray(tensor)


def rest_codec(client, call, outputs, specs):
    """Encodes and decodes a request and a response."""
    json_codec.decode(client.predict_request(call).body, {call.signature: specs}, SIZES)
    client.read(json_codec.encode(outputs, row_format=False), types_of(outputs))


def types_of(outputs):
    """Output -> type, as the client reads it from the model's metadata."""
    return {name: array.dtype.type for name, array in outputs.items()}


def measure_overhead(model, signatures, requests, rounds):
    """Medians in ms of one client's requests, and of their parts."""
    records = {}
    with servers.start_embedded(model) as server, httpx.Client() as client:
        rest = rest_transport.Codec(Target(server.rest, "fomm", None, None, 60.0, 0.0, 2**31))
        for label, (signature, inputs) in requests.items():
            function = signatures[signature]
            specs = {
                name: declared.Spec(spec.dtype.name, tuple(spec.shape.as_list()))
                for name, spec in function.structured_input_signature[1].items()
            }
            tensors = {name: tf.constant(array) for name, array in inputs.items()}
            outputs = {name: tensor.numpy() for name, tensor in function(**tensors).items()}

            call = Call(signature, inputs)

            def by_rest(call=call, outputs=outputs):
                body = rest.predict_request(call).body
                response = client.post(f"{server.url}:predict", content=body, timeout=None)
                rest.read(response.raise_for_status().content, types_of(outputs))

            parts = {
                "signature": lambda f=function, t=tensors: harness.wait(f(**t)),
                "gRPC": lambda s=signature, i=inputs: server.call(s, i),
                "gRPC codec": lambda s=signature, i=inputs, o=outputs: grpc_codec(s, i, o),
                "REST": by_rest,
                "REST codec": lambda c=call, o=outputs, p=specs: rest_codec(rest, c, o, p),
            }
            seconds = collections.defaultdict(list)
            for _ in tqdm.trange(rounds + 3, leave=False, disable=None):
                for name, run in parts.items():
                    start = time.perf_counter()
                    run()
                    seconds[name].append(time.perf_counter() - start)
            medians = {name: 1000 * float(np.median(each[3:])) for name, each in seconds.items()}
            for protocol in ("gRPC", "REST"):
                beside = medians["signature"] + medians[f"{protocol} codec"]
                medians[f"{protocol} overhead"] = medians[protocol] - beside
            records[label] = {name: round(value, 2) for name, value in medians.items()}
            print(f"{label}:", ", ".join(f"{name} {value:.1f} ms" for name, value in medians.items()), flush=True)
    return records


def main():
    parser = harness.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=5, help="under each load (default: %(default)s)")
    parser.add_argument(
        "--clients", type=int, nargs="+", default=CLIENTS, metavar="N", help="how many (default: 1 4 16 64)"
    )
    text = "measure hostile clients only, in eight phases of half --seconds; exit with 1 if that costs too much"
    parser.add_argument("--attacks", action="store_true", help=text)
    parser.add_argument("--requests", type=int, default=60, help="to measure the overhead (default: %(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = pathlib.Path(folder) / "fomm"
        version = saved_model.write(checkpoint.BUNDLED, model)
        # Only measured signatures are called in advance.
        (version / saved_model.EXTRA / saved_model.WARMUP).unlink()
        signatures = tf.saved_model.load(str(version)).signatures
        requests = requests_of(signatures)
        if arguments.attacks:
            summary = measure_attacks(model, requests, arguments.seconds)["summary"]
            return int(any(summary[name] > bound for name, bound in BOUNDS.items()))
        records = {
            "attacks": measure_attacks(model, requests, arguments.seconds),
            "overhead": measure_overhead(model, signatures, requests, arguments.requests),
            "load": measure_load(model, requests, arguments.clients, arguments.seconds),
            "full": measure_full(model, requests, arguments.seconds),
        }
    harness.write(arguments.out, "serving", records)
    return 0


if __name__ == "__main__":
    sys.exit(main())
