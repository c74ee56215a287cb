"""Python processes that start within milliseconds: forks of one that has imported TensorFlow, which takes seconds.

The first use starts the process to fork, one for each worker of pytest-xdist. It runs no operation, so that the
threads of TensorFlow start in the forks alone. Tests of what a fresh interpreter does use `subprocess`.
"""

import multiprocessing
import multiprocessing.reduction
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import types

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["fomm_tf.models", "export.onnx", "export.saved_model", "export.tflite"])


def run(*arguments, cwd=None, env=None):
    """As `subprocess.run([sys.executable, *arguments], capture_output=True, text=True)`."""
    process = start(*arguments, cwd=cwd, env=env)
    stdout, stderr = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def start(*arguments, cwd=None, env=None):
    """As `subprocess.Popen` with stdout as a pipe of text, for arguments that begin with `-m`, `-c` or a script.

    Its stderr is a file, complete when the process has ended.
    """
    return _Process([str(part) for part in arguments], cwd or os.getcwd(), dict(os.environ if env is None else env))


class _Process:
    """The part of `subprocess.Popen` that tests use."""

    def __init__(self, arguments, cwd, env):
        self.args = [sys.executable, *arguments]
        read, write = os.pipe()
        self.stdout, self.stderr = os.fdopen(read), tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = _CONTEXT.Process(target=_Target(arguments, cwd, env, write, self.stderr.fileno()))
        self._process.start()
        self.pid = self._process.pid
        os.close(write)

    @property
    def returncode(self):
        return self._process.exitcode

    def wait(self, timeout=None):
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.returncode

    def communicate(self, timeout=None):
        stdout = self.stdout.read()
        self.wait(timeout)
        self.stderr.seek(0)
        return stdout, self.stderr.read()

    def send_signal(self, number):
        os.kill(self.pid, number)

    def terminate(self):
        self._process.terminate()

    def kill(self):
        self._process.kill()


class _Target:
    """What the fork runs; pickled while the process starts, when its pipes can be handed over."""

    def __init__(self, arguments, cwd, env, *pipes):
        self._given = arguments, cwd, env, pipes

    def __reduce__(self):
        arguments, cwd, env, pipes = self._given
        return _Target, (arguments, cwd, env, *map(multiprocessing.reduction.DupFd, pipes))

    def __call__(self):
        arguments, cwd, env, pipes = self._given
        for pipe, stream in zip(pipes, (1, 2), strict=True):
            os.dup2(pipe.detach(), stream)
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", closefd=False, buffering=1, errors="backslashreplace")  # noqa: SIM115
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(env)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        first, *rest = arguments
        if first == "-m":
            sys.argv = rest
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        elif first == "-c":
            sys.argv = ["-c", *rest[1:]]
            sys.modules["__main__"] = types.ModuleType("__main__")
            exec(rest[0], vars(sys.modules["__main__"]))
        else:
            sys.argv = arguments
            runpy.run_path(first, run_name="__main__")
