"""``--certificate``: the option, where it may be written, and the certificate of ``rosetta check FILE``."""

import argparse
import importlib
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.cli.proof.subjects import notes
from common.conversions.systems import LAYOUTS
from common.errors import BackendMissing
from common.proof.outcome import is_proved, verdict
from common.proof.trials import Plan, Trial
from common.record_types import Check, Environment
from common.study import certificate
from common.study.certificate import Certificate, Failure, Inputs, Verdict

# The libraries of the page.
LIBRARIES = ("jinja2", "markupsafe", "matplotlib")


def add(parser: Any) -> None:
    text = "write what was compared, as a page, and beside it as .json and .md"
    parser.add_argument("--certificate", metavar="FILE.html", default=argparse.SUPPRESS, help=text)


def place(options: Namespace) -> tuple[Path, Any] | None:
    """Where the certificate goes, and ``reports.certificate``; None where none is asked for.

    Raises ``BackendMissing`` without the libraries of the page, and ``InvalidInput`` for a place that is taken.
    """
    if not hasattr(options, "certificate"):
        return None
    try:
        module = importlib.import_module("reports.certificate")
    except ModuleNotFoundError as error:
        if error.name not in LIBRARIES:
            raise
        text = f"a certificate needs {error.name}, which is not installed; run: pip install -e '.[report]'"
        raise BackendMissing(text) from error
    path = Path(options.certificate)
    module.require_place(path)
    return path, module


def of_check(
    options: Namespace,
    plan: Plan,
    found: Sequence[Trial],
    rows: Sequence[Check],
    lost: Sequence[str],
    environment: Sequence[Environment],
    failures: Sequence[Failure],
) -> Certificate:
    """What was compared on a file; ``lost`` were asked for and not compared."""
    subject, layer = plan.subject, plan.subject.layer
    files = [certificate.file_facts("weights", subject.file.path, subject.file.format)]
    if plan.inputs is not None:
        files.append(certificate.file_facts("inputs", Path(plan.inputs), "NumPy"))
    if plan.expected is not None:
        files.append(certificate.file_facts("expected", Path(plan.expected.path), "NumPy"))
    versions = {record["of"]: record["facts"] for record in environment}
    if plan.guest is not None:
        versions[plan.guest.name] = plan.guest.peer.versions()
    said = [*notes(subject), *(plan.expected.notes if plan.expected else ())]
    return certificate.certificate(
        command=options.command,
        verdict=Verdict(is_proved(rows, lost), verdict(subject, rows, lost)),
        files=files,
        layer=certificate.layer_facts(layer.path, LAYOUTS[layer.layout].owner, subject.spec, layer.params),
        inputs=[_inputs(plan, one) for one in found],
        rows=[(number, row) for number, trial in enumerate(found) for row in trial.rows],
        versions=versions,
        notes=said,
        failures=failures,
    )


def _inputs(plan: Plan, trial: Trial) -> Inputs:
    """The inputs of a trial, of which one may start from zeros as what was recorded does."""
    label, origin = trial.variant.spec.dtype, list(plan.draw.origin)
    if plan.is_from_zeros and plan.expected is not None:
        origin = [text for text in origin if text != plan.zeros]
        if trial.problem.state0 is None:
            label = f"{label}, from zeros"
            origin = [text for text in origin if not text.startswith("initial states")]
            origin.append(f"initial states of zeros, from which what {plan.expected.path} holds starts")
    return certificate.input_facts(label, "; ".join((*origin, f"seed {plan.seed}")), trial.problem)
