"""`streamproc send` and `tail` as processes, with the service between them."""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE

from streamproc.exitcodes import ExitCode
from tests.support.service import Fleet
from tests.support.waiting import eventually

EVENTS = [{"id": f"run_{number}", "status": "queued", "assistant_id": "asst_1"} for number in range(300)]


async def streamproc(service: Fleet, *arguments: str, text: str = "") -> tuple[int, list[str], str]:
    """Run a command; return its exit code, the lines of its output, and what it says besides."""
    command = (sys.executable, "-m", "streamproc", *arguments)
    environment = service.environment()
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment)
    out, err = await process.communicate(text.encode())
    assert b"Traceback" not in out + err
    return process.returncode or 0, out.decode().splitlines(), err.decode()


async def test_what_is_sent_comes_out_decoded(service: Fleet) -> None:
    """The public contract: JSON lines in, keyed by run; decoded records out, one a line."""
    code, _, said = await streamproc(service, "send", text="\n".join([*map(json.dumps, EVENTS), "garbage"]))
    assert code == 1
    assert "line 301 is not sent" in said
    assert "sent 300 events" in said
    service.start()
    await service.drained()
    code, lines, _ = await streamproc(service, "tail", "transitions", "--json", "--no-follow")
    assert (code, {json.loads(line)["run_id"] for line in lines}) == (0, {event["id"] for event in EVENTS})
    code, lines, _ = await streamproc(service, "tail", "state", "--json", "--no-follow", "--run", "run_7")
    assert [(json.loads(line)["run_id"], json.loads(line)["status"]) for line in lines] == [("run_7", "queued")]
    code, [text], _ = await streamproc(service, "runs", "show", "run_7", "--json")
    assert (code, json.loads(text)["status"], len(json.loads(text)["history"])) == (0, "queued", 1)
    code, lines, said = await streamproc(service, "runs", "list", "--status", "queued", "--limit", "5", "--json")
    assert (code, len(lines)) == (0, 5)
    assert {json.loads(line)["assistant_id"] for line in lines} == {"asst_1"}
    code, _, said = await streamproc(service, "runs", "show", "nobody")
    assert (code, "no topic tells of nobody" in said) == (1, True)


async def test_a_reader_that_has_enough_is_no_failure(service: Fleet) -> None:
    """`streamproc tail … | head -1`."""
    await streamproc(service, "send", text="\n".join(map(json.dumps, EVENTS)))
    service.start()
    await service.drained()
    command = f"{sys.executable} -m streamproc tail state --json --from-beginning | head -1"
    shell = await asyncio.create_subprocess_shell(command, stdout=PIPE, stderr=PIPE, env=service.environment())
    out, err = await shell.communicate()
    assert json.loads(out)["status"] == "queued"
    assert err == b""


async def test_an_interrupt_is_the_end_of_a_tail(service: Fleet) -> None:
    """Exit code 0: it has no other end."""
    command = (sys.executable, "-m", "streamproc", "tail", "state", "--from-beginning")
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, env=service.environment())
    await streamproc(service, "send", text=json.dumps(EVENTS[0]))
    service.start()
    assert process.stdout is not None
    assert b"run_0" in await process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")


async def test_an_interrupt_ends_a_send_though_its_input_stays_open(service: Fleet) -> None:
    """What was read by then is sent; nobody has to close a terminal first."""
    command = (sys.executable, "-m", "streamproc", "send")
    environment = service.environment()
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment)
    assert process.stdin is not None
    process.stdin.write(json.dumps(EVENTS[0]).encode() + b"\n")
    await process.stdin.drain()

    async def is_there() -> bool:
        return sum([len(await service.read(service.topics.events, number)) for number in range(4)]) == 1

    await eventually(is_there)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    said = await process.stderr.read()
    assert await process.wait() == ExitCode.INTERRUPTED
    assert said.decode().split() == f"sent 1 event to {service.topics.events}; interrupted".split()
    process.stdin.close()
