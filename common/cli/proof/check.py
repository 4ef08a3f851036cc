"""``rosetta check FILE``: every implementation on the weights of a file, on recorded or drawn inputs."""

import argparse
from argparse import Namespace
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from common.backend import registry
from common.backend.contract import Backend
from common.backend.guards import require_supported
from common.cli import console
from common.cli.options import given, load_backends
from common.cli.proof import certificates, text
from common.cli.proof.subjects import OF_FILE, asked_of, drawn, headline, notes, require_no_file_options, subject_of
from common.equivalence.comparison import EXPECTED, FAILED, ORACLES
from common.errors import BackendBroken, BackendMissing, InvalidInput, mismatch
from common.proof.outcome import is_proved, participants
from common.proof.problems import valid_steps, variant
from common.proof.recorded import Expected, Inputs, read_expected
from common.proof.subject import Subject
from common.proof.trials import Guest, Plan, Trial, lacking, one_thread, peer_lacks, trials, without_results
from common.record_types import Check, Environment, Record
from common.records import of_kind
from common.study.environment import environment
from common.weights import peers
from common.weights.source import Unusable

# Options of a check that have no meaning for a file.
WITHOUT_FILE = ("regime", "training")
FILE_ONLY = (*OF_FILE, "expect", "certificate")


def add_expect(group: Any) -> None:
    text = "recorded outputs of any system on --inputs: y, or an .npz with y, h_n and c_n; they start from zeros "
    text += "unless the inputs have h_0"
    group.add_argument("--expect", metavar="Y.npy", default=argparse.SUPPRESS, help=text)
    certificates.add(group)


def require_no_file(options: Namespace) -> None:
    require_no_file_options(options, FILE_ONLY)


def run(options: Namespace) -> int:
    """Compare everything on the weights of a file and print the verdict; returns the exit code."""
    if options.configs is not None:
        raise InvalidInput(mismatch("--configs", "none with FILE, which is one model", options.configs))
    for name in given(options, WITHOUT_FILE):
        option = "--eval" if name == "training" else f"--{name}"
        raise InvalidInput(mismatch(option, "none with FILE", option))
    page, plan = certificates.place(options), _plan(options)
    subject = plan.subject
    if not options.json:
        text.paragraph(headline(subject))
    for note in (*notes(subject), *(plan.expected.notes if plan.expected else ())):
        console.message(note)
    found: list[Trial] = []
    with console.Stages() as stages:
        stream = chain(environment(list(plan.backends)), _records(plan, stages, found))
        records = console.collect(stream, options, options.seed)
    rows = of_kind(records, Check)
    wanted = [*(options.backend or ()), *([EXPECTED] if plan.expected else [])]
    lost = [name for name in dict.fromkeys(wanted) if name not in participants(rows)]
    for name in lost:
        console.message(f"{name} was not compared, so the check fails.")
    with one_thread():
        failures, more = text.failures(found, subject) if page is not None or not options.json else ([], 0)
    if page is not None:
        made = certificates.of_check(options, plan, found, rows, lost, of_kind(records, Environment), failures)
        page[1].write(page[0], made)
    if not options.json:
        text.print_table(rows)
        text.print_failures(failures, more)
        text.print_verdict(subject, rows, plan.draw.origin, lost)
        if page is not None:
            console.line(f"Certificate: {page[0]}")
    return 0 if is_proved(rows, lost) else 1


def _records(plan: Plan, stages: console.Stages, found: list[Trial]) -> Iterator[Record]:
    for trial in trials(plan, stages.stage):
        failed = any(row.verdict == FAILED for row in trial.rows)
        found.append(trial if failed else without_results(trial))
        yield from (row.record() for row in trial.rows)


def _plan(options: Namespace) -> Plan:
    """What is to be compared. Raises for options that contradict the file or one another."""
    subject = subject_of(options)
    if hasattr(options, "expect") and not hasattr(options, "inputs"):
        raise InvalidInput(mismatch("--expect", "the inputs that it was recorded on with it, --inputs", "no --inputs"))
    asked = asked_of(options, subject)
    dtypes = list(dict.fromkeys(options.dtype or subject.usual_dtypes()))
    made = drawn(subject, asked, dtypes)
    expected = None
    if asked.inputs is not None and hasattr(options, "expect"):
        expected = _expected(options, subject, asked.inputs, valid_steps(made.problem))
        if expected.dtype not in dtypes:
            if options.dtype:
                got = f"{expected.dtype} in {expected.path}"
                raise InvalidInput(mismatch("dtype of --expect", f"one of {', '.join(dtypes)}", got))
            dtypes.append(expected.dtype)
    plan = Plan(
        subject=subject,
        draw=made,
        dtypes=dtypes,
        backends={},
        expected=expected,
        inputs=asked.inputs.path if asked.inputs else None,
        batch_first=getattr(options, "batch_first", False),
        seed=options.seed,
    )
    if plan.is_from_zeros:
        plan = plan._replace(draw=made._replace(origin=(*made.origin, plan.zeros)))
    plan = plan._replace(backends=_backends(options, plan))
    return plan._replace(guest=_guest(plan))


def _expected(options: Namespace, subject: Subject, inputs: Inputs, valid: Any) -> Expected:
    path = Path(options.expect)
    return read_expected(path, subject.spec, inputs, getattr(options, "batch_first", False), valid)


def _backends(options: Namespace, plan: Plan) -> dict[str, Backend]:
    """Those that were asked for, or all that are installed and support a trial; for others it is said why."""
    for name in (*ORACLES, EXPECTED):
        if name in (options.backend or ()):
            raise InvalidInput(mismatch("the name of a backend", f"another than {name}", repr(name)))
    if options.backend:
        found = registry.load_all(load_backends(options.backend))
        for backend in found.values():
            if all(lacking(plan, backend, dtype) for dtype in plan.dtypes):
                about = variant(plan.subject.spec, plan.draw.problem, plan.dtypes[0], plan.seed)
                require_supported(backend, about.spec, about.called)
    else:
        found = _installed(options.default_backends)
    for name, backend in found.items():
        for dtype in plan.dtypes:
            if lacks := lacking(plan, backend, dtype):
                console.message(f"{name} is left out in {dtype}: it does not support {', '.join(lacks)}")
    return {n: b for n, b in found.items() if not all(lacking(plan, b, dtype) for dtype in plan.dtypes)}


def _installed(names: Sequence[str]) -> dict[str, Backend]:
    found, problems = {}, []
    for name in names:
        try:
            found[name] = registry.load(name)
        except (BackendMissing, BackendBroken) as error:
            problems.append(error)
            console.message(f"{name} is left out: {error}")
    if not found:
        raise problems[0]
    return found


def _guest(plan: Plan) -> Guest | None:
    """The library that owns the format, with the layer as it loads it; where it takes no part, it is said why."""
    subject = plan.subject
    name = peers.owner(subject.layer)
    if not name:
        return None
    if subject.spec.dtype not in plan.dtypes:
        console.message(f"{name} is not asked: it computes in {subject.spec.dtype}, the dtype of the file")
        return None
    if not subject.is_whole:
        console.message(f"{name} is not asked: it runs whole layers of the file")
        return None
    try:
        peer = peers.load(name)
        if lacks := peer_lacks(plan, peer):
            console.message(f"{name} is not asked: it does not support {', '.join(lacks)}")
            return None
        loaded = peer.load(subject.file.path, subject.layer)
    except (BackendMissing, BackendBroken, InvalidInput, Unusable) as error:
        console.message(f"{name} is not asked: {error}")
        return None
    return Guest(peer.name if peer.name not in plan.backends else f"{peer.name} (file)", peer, loaded)
