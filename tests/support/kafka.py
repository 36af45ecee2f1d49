"""Where the tests' broker comes from: an address in the environment, a container, or packages alone."""

import asyncio
import os
import warnings
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import docker
from requests.exceptions import RequestException
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from streamproc.local.kafka import LocalKafka, broker_properties, free_port

BOOTSTRAP_VARIABLE = "STREAMPROC_TEST_BOOTSTRAP_SERVERS"
IMAGE = "apache/kafka:4.1.0"
DOCKER_ANSWER_S = 2
CONTAINER_START_S = 60
# testcontainers has no base class of its own: a container that ends at once is a RuntimeError.
CONTAINER_ERRORS = (docker.errors.DockerException, RequestException, RuntimeError, TimeoutError)


@contextmanager
def any_broker() -> Iterator[str]:
    """The bootstrap servers of the first broker that can be had, for the length of the block."""
    if given := os.environ.get(BOOTSTRAP_VARIABLE):
        yield given
        return
    with ExitStack() as stack:
        bootstrap_servers = _from_container(stack) if docker_answers() else None
        yield bootstrap_servers or stack.enter_context(from_packages())


def docker_answers() -> bool:
    """Whether there is a Docker engine; one that is configured but silent is given up quickly."""
    try:
        return bool(docker.from_env(timeout=DOCKER_ANSWER_S).ping())
    except (docker.errors.DockerException, RequestException):
        return False


def container_properties(host: str, port: int) -> dict[str, str]:
    """Broker settings where clients reach it under another address than the one under which it reaches itself."""
    return {
        **broker_properties(),
        "node.id": "1",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "BROKER",
        "listeners": "PLAINTEXT://0.0.0.0:9092,BROKER://localhost:9093,CONTROLLER://localhost:9094",
        "advertised.listeners": f"PLAINTEXT://{host}:{port},BROKER://localhost:9093",
        "controller.quorum.voters": "1@localhost:9094",
    }


def _from_container(stack: ExitStack) -> str | None:
    host, port = DockerClient().host(), free_port()
    container = DockerContainer(IMAGE).with_bind_ports(9092, port)
    for key, value in container_properties(host, port).items():
        container.with_env(f"KAFKA_{key.replace('.', '_').upper()}", value)
    container.waiting_for(LogMessageWaitStrategy("Kafka Server started").with_startup_timeout(CONTAINER_START_S))
    try:
        stack.enter_context(container)
    except CONTAINER_ERRORS as error:
        warnings.warn(f"Docker answers but {IMAGE} does not run: {error}", stacklevel=2)
        return None
    return f"{host}:{port}"


class Restartable(NamedTuple):
    """A broker that a test may kill and run again, on the same ports and data."""

    bootstrap_servers: str
    kill: Callable[[], None]
    start_again: Callable[[], None]


@contextmanager
def from_packages(port: int | None = None, properties: Mapping[str, str] | None = None) -> Iterator[str]:
    """The bootstrap servers of a broker of one's own, for the length of the block."""
    with restartable(port, properties) as it:
        yield it.bootstrap_servers


@contextmanager
def restartable(port: int | None = None, properties: Mapping[str, str] | None = None) -> Iterator[Restartable]:
    """A broker of one's own, for the length of the block."""
    # In a thread and a loop of its own: the loops of tests come and go, and one may run when the broker is asked for.
    with ThreadPoolExecutor(max_workers=1) as thread:
        runner = asyncio.Runner()
        kafka = LocalKafka(port=port, properties=properties)

        def run(work: Coroutine[Any, Any, None]) -> None:
            thread.submit(runner.run, work).result()

        try:
            run(kafka.start())
            yield Restartable(kafka.bootstrap_servers, lambda: run(kafka.kill()), lambda: run(kafka.start_again()))
        finally:
            run(kafka.stop())
            thread.submit(runner.close).result()
