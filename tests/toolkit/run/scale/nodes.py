"""A bucket and a Ray cluster of several machines, all on loopback: for tests and for the benchmark of Ray."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.processes import LIMIT_S, command_line, kill_session, session_ids, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
BUCKET = "clips"


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S):
        return True
    return False


@contextmanager
def s3_server(log: Path) -> Iterator[int]:
    """Run an S3 server on loopback and give its port; what it prints goes to `log`."""
    port = free_port()
    with log.open("w") as printed:
        server = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=printed, stderr=printed
        )
        try:
            assert wait_until(lambda: answers(port)), log.read_text()
            yield port
        finally:
            server.kill()
            server.wait()


@contextmanager
def bucket_at(port: int) -> Iterator[None]:
    """Make an empty bucket at that port, and let the environment point there until the end of the block."""
    variables = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "reader",
        "AWS_SECRET_ACCESS_KEY": "very-secret-key",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    import pyarrow.fs as pf

    pf.S3FileSystem(
        endpoint_override=variables["AWS_ENDPOINT_URL"], region="us-east-1", allow_bucket_creation=True
    ).create_dir(BUCKET)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


class Cluster:
    """Ray nodes of one CPU each on this machine, started as one does on several."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.folder = folder
        self.nodes: list[subprocess.Popen[bytes]] = []

    @property
    def address(self) -> str:
        """Of the first node, as `--ray-address` takes it."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the first node, and return when others can join it."""
        self._node("--head", "--node-ip-address=127.0.0.1", f"--port={self.port}", "--include-dashboard=false",
                   f"--temp-dir={self.folder}")  # fmt: skip
        assert wait_until(lambda: answers(self.port)), self.log()

    def add_node(self) -> None:
        """Start another node, which joins the first in some seconds."""
        self._node(f"--address={self.address}", "--node-ip-address=127.0.0.1")

    def _node(self, *options: str) -> None:
        log = (self.folder.parent / f"node{len(self.nodes)}.log").open("wb")
        self.nodes.append(
            subprocess.Popen(
                [sys.executable, "-m", "ray.scripts.scripts", "start", *options, "--num-cpus=1", "--block",
                 "--disable-usage-stats", "--object-store-memory=80000000"],
                stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, "PYTHONPATH": str(HERE)},
            )
        )  # fmt: skip
        log.close()

    def log(self) -> str:
        """Return what the nodes have printed."""
        return "\n".join(path.read_text() for path in self.folder.parent.glob("node*.log"))

    def kill(self, index: int) -> None:
        """Kill every process of a node, as a machine that is switched off."""
        kill_session(self.nodes[index].pid)
        self.nodes[index].wait()

    def worker_processes(self) -> list[int]:
        """Return the processes that have the models, of every node."""
        members = [one for node in self.nodes for one in session_ids(node.pid)]
        return [one for one in members if "-m fmltk.toolkit.run.worker_program" in command_line(one)]

    def stop(self) -> None:
        """Kill every node."""
        for index in reversed(range(len(self.nodes))):
            self.kill(index)
