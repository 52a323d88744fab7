"""The files under deploy/, the image, the units and the scripts, as other people's validators judge them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
#: Where `.ci/programs` puts the validators of requirements-validators.lock.
_INSTALLED = ROOT / ".venv" / "validators" / "bin"
SCRIPTS = ("deploy/certbot/relay", ".ci/run", ".ci/programs")

pytestmark = pytest.mark.system


def run(program, *arguments, cwd=ROOT):
    """Run a validator. Returns its exit code, and what it says."""
    found = shutil.which(program) or shutil.which(program, path=str(_INSTALLED))
    if found is None:
        pytest.skip(f"{program} is not here; .ci/programs installs it")
    done = subprocess.run([found, *arguments], cwd=cwd, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("cfn-lint", "deploy/aws/relay.yaml", "deploy/aws/fleet.yaml"),
        ("kubernetes-validate", "--strict", "--quiet", "deploy/kubernetes/relay.yaml"),
        ("hadolint", "Dockerfile"),
        ("shellcheck", *SCRIPTS),
        ("terraform", "fmt", "-check", "-diff", "deploy/aws/terraform"),
    ],
    ids=lambda command: command[0],
)
def test_validator_finds_nothing(command):
    """Each reads our file, and has nothing to say against it."""
    code, said = run(*command)
    assert code == 0, said


def test_terraform_finds_the_module_valid(tmp_path):
    """With the provider's schema, where it can be had."""
    module = tmp_path / "module"
    shutil.copytree(ROOT / "deploy" / "aws" / "terraform", module)
    code, said = run("terraform", "init", "-backend=false", "-input=false", cwd=module)
    if code != 0:
        pytest.skip(f"no provider can be had here: {said.strip().splitlines()[-1][:80]}")
    code, said = run("terraform", "validate", cwd=module)
    assert code == 0, said


#: Arguments of Terraform's own, which every resource takes.
EVERYWHERE = {"count", "for_each", "depends_on", "lifecycle", "provider", "__is_block__"}


def test_module_fits_the_schema_of_the_provider():
    """Where the provider itself cannot be had: each argument exists, in blocks too, and each required one is
    there.
    """
    schema = json.loads(Path(__file__).with_name("aws_provider.json").read_text())
    code, said = run("hcl2tojson", "deploy/aws/terraform/main.tf")
    assert code == 0, said
    module = json.JSONDecoder().raw_decode(said)[0]  # the file's name follows
    wrong = []
    for kind in ("resource", "data"):
        for block in module[kind]:
            for name, bodies in block.items():
                for body in bodies.values():
                    wrong += compare(schema[f"{kind} {name.strip(QUOTE)}"], body, name)
    assert wrong == []


QUOTE = '"'


def compare(known, body, where):
    """The arguments of a block that its schema does not have, or that are missing."""
    given = {key.strip(QUOTE): value for key, value in body.items() if key not in EVERYWHERE}
    for dynamic in given.pop("dynamic", ()):
        for key, block in dynamic.items():
            if key not in EVERYWHERE:
                given[key.strip(QUOTE)] = block["content"]
    yield from (f"{where}.{key}" for key in given if key not in known)
    yield from (f"{where}.{key} is missing" for key, need in known.items() if need == 1 and key not in given)
    for key, value in given.items():
        if isinstance(known.get(key), dict):
            for each in value if isinstance(value, list) else [value]:
                if isinstance(each, dict):
                    yield from compare(known[key], each, f"{where}.{key}")


def test_module_names_what_it_declares():
    """Each variable, local, data source and resource that the module names is declared, and none in vain."""
    text = "\n".join(file.read_text() for file in (ROOT / "deploy" / "aws" / "terraform").glob("*.tf"))
    declared = {f"var.{name}" for name in re.findall(r'^variable "(\w+)"', text, re.MULTILINE)}
    declared |= {
        f"{kind}.{name}" for kind, name in re.findall(r'^resource "(\w+)" "(\w+)"', text, re.MULTILINE)
    }
    declared |= {
        f"data.{kind}.{name}" for kind, name in re.findall(r'^data "(\w+)" "(\w+)"', text, re.MULTILINE)
    }
    named = set(re.findall(r"\b(var\.\w+|data\.\w+\.\w+|(?<!data\.)aws_\w+\.\w+)", text))
    assert named <= declared
    assert {each for each in declared if each.startswith("var.")} <= named


def test_exposure_with_the_socket_is_lower(tmp_path):
    """With systemd/relay.socket the service needs no capability, and systemd rates it 1.4 or better."""
    unit = (ROOT / "systemd" / "relay.service").read_text()
    unit = re.sub(r"^(AmbientCapabilities|CapabilityBoundingSet)=.*$", r"\1=", unit, flags=re.MULTILINE)
    (tmp_path / "relay.service").write_text(unit)
    _, said = run(
        "systemd-analyze", "security", "--offline=yes", "--no-pager", "./relay.service", cwd=tmp_path
    )
    (rated,) = re.findall(r"Overall exposure level for relay.service: ([\d.]+)", said)
    assert float(rated) <= 1.4
