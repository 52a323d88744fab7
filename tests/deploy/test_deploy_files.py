"""The files under deploy/ for AWS, Kubernetes and Connect: true to the relay that they run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest
import yaml
from harness import free_port

from relay.config.load import read_values
from relay.contact.attribute_names import MEANINGS
from relay.contact.risk.codes import RiskCode
from relay.scan.model import ScanWord
from relay.setup.advice import build_policy
from relay.setup.answers import Answers
from relay.telemetry.emf import DIMENSION, NAMESPACE, SOURCES
from relay.vocabulary import Classification

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
MODULE = (DEPLOY / "aws" / "terraform" / "main.tf").read_text()
ARN = "arn:aws:connect:eu-central-1:123456789012:instance/12345678-90ab-cdef-1234-567890abcdef"
ANSWERS = Answers(
    hostname="mx1.example.com",
    addresses=("support@example.com",),
    bucket="example-mail",
    region="eu-central-1",
    instance=ARN,
)


class Loader(yaml.SafeLoader):
    """A reader of CloudFormation, whose functions (`!Sub`) are kept as their arguments."""


def _open(loader, _suffix, node):
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_mapping(node, deep=True)


Loader.add_multi_constructor("!", _open)
STACK = yaml.load((DEPLOY / "aws" / "relay.yaml").read_text(), Loader)["Resources"]
OBJECTS = list(yaml.safe_load_all((DEPLOY / "kubernetes" / "relay.yaml").read_text()))


def find_object(kind):
    """The object of a kind in the manifests."""
    return next(each for each in OBJECTS if each["kind"] == kind)


# --- The alarms


def stack_alarms():
    """The alarms of the stack: the metric of each with what it is judged by."""
    for resource in STACK.values():
        if resource["Type"] == "AWS::CloudWatch::Alarm":
            yield resource["Properties"]


def module_alarms():
    """The alarms of the module, from its table: metric, statistic, minutes, threshold."""
    table = MODULE.partition("  alarms = {\n")[2].partition("\n  }\n")[0]
    for name, statistic, minutes, threshold in re.findall(r'(\w+)\s*= \["(\w+)", (\d+), (\d+),', table):
        yield name, statistic, int(minutes), int(threshold)


def test_every_alarm_stands_on_a_metric_that_is_told():
    """An alarm on a name that no line holds would never ring."""
    alarms = list(stack_alarms())
    assert len(alarms) >= 9
    for alarm in alarms:
        assert alarm["MetricName"] in SOURCES
        assert alarm["Namespace"] == NAMESPACE
        assert alarm["Dimensions"] == [{"Name": DIMENSION, "Value": "relay"}]
        # a growth of a minute is summed, and the height of something is not
        sums = {"Sum"} if SOURCES[alarm["MetricName"]].grows else {"Maximum", "SampleCount"}
        assert alarm["Statistic"] in sums
    assert f'namespace           = "{NAMESPACE}"' in MODULE
    assert f'dimensions          = {{ {DIMENSION} = "relay" }}' in MODULE


def test_stack_and_module_have_the_same_alarms():
    """Whichever is chosen, the same wakes a person."""
    stack = {
        (alarm["MetricName"], alarm["Statistic"], alarm["EvaluationPeriods"], alarm["Threshold"])
        for alarm in stack_alarms()
    }
    assert stack == {*module_alarms(), ("IntakeClosed", "SampleCount", 5, 1)}
    assert 'statistic           = "SampleCount"' in MODULE


# --- What the relay may, and how it is set up


def actions_of(statements):
    """The actions that a policy allows."""
    return {
        action
        for statement in statements
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }


def test_role_may_do_what_relay_init_says():
    """A stack that lacks an action would hold every route at the first mail."""
    wanted = actions_of(build_policy(ANSWERS, prefix="mail/")["Statement"])
    (policy,) = STACK["TaskRole"]["Properties"]["Policies"]
    assert actions_of(policy["PolicyDocument"]["Statement"]) == wanted
    section = MODULE.partition('resource "aws_iam_role_policy" "task"')[2].partition("\nresource ")[0]
    assert set(re.findall(r'"((?:connect|s3):[A-Z]\w+)"', section)) - {"connect:InstanceId"} == wanted


def configurations():
    """The configuration in each file, with what a person fills in."""
    task = STACK["Task"]["Properties"]["ContainerDefinitions"][0]
    (stack,) = [each["Value"] for each in task["Environment"] if each["Name"] == "CONFIGURATION"]
    module = textwrap.dedent(MODULE.partition("configuration = <<-EOT\n")[2].partition("  EOT\n")[0])
    values = {
        "Hostname": "mx1.example.com",
        "BucketName": "example-mail",
        "InstanceArn": ARN,
        "Addresses": '"support@example.com"',
        "Destination": "support@example.com",
        "var.hostname": "mx1.example.com",
        "var.bucket_name": "example-mail",
        "var.instance_arn": ARN,
        "jsonencode(var.addresses)": '["support@example.com"]',
        "var.destination": "support@example.com",
    }

    def fill(text):
        return re.sub(r"\$\{([^}]+)\}", lambda found: values[found[1]], text)

    yield pytest.param(fill(stack), id="stack")
    yield pytest.param(fill(module), id="module")
    yield pytest.param(find_object("ConfigMap")["data"]["relay.toml"], id="kubernetes")


@pytest.mark.parametrize("text", list(configurations()))
def test_configuration_is_one_that_the_relay_takes(text):
    """Behind a load balancer: at a port that no root is needed for, and with PROXY believed."""
    config = read_values(tomllib.loads(text))
    (listener,) = config.listeners
    assert listener.bind == ("0.0.0.0:2525",)
    assert listener.proxy_protocol
    assert config.admin.bind == ("0.0.0.0:8026",)
    assert config.routes[0].destination == "support@example.com"


@pytest.mark.process
def test_command_of_the_task_starts_the_relay(box, papers, tmp_path):
    """The script of the container makes its files of the variables, and the daemon that it becomes is ready,
    tells its metrics as the alarms want them, and ends at the SIGTERM of ECS.
    """
    (text,) = (each.values[0] for each in configurations() if each.id == "stack")
    for port in ("2525", "8026"):
        text = text.replace(f"0.0.0.0:{port}", f"127.0.0.1:{free_port()}")
    (script,) = STACK["Task"]["Properties"]["ContainerDefinitions"][0]["Command"]
    (tmp_path / "relay").write_text(f'#!/bin/sh\nexec {sys.executable} -m relay "$@"\n')
    (tmp_path / "relay").chmod(0o755)
    environ = box.environ() | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "CONFIGURATION": text.replace("/run/relay", str(tmp_path)),
        "CERTIFICATE": papers.certificate.read_text(),
        "KEY": papers.key.read_text(),
        "RELAY_DATA_DIR": str(tmp_path / "data"),
        "RELAY_SPOOL__MIN_FREE_BYTES": "0",
        "RELAY_SERVER__RECEIVERS": "1",
    }
    command = ["sh", "-euc", script.replace("/run/relay", str(tmp_path))]
    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True) as process:
        told = next(event for event in map(json.loads, process.stderr) if event["event"] == "metrics.told")
        process.terminate()
        left = [json.loads(line)["event"] for line in process.stderr]
    assert process.returncode == 0
    # the others come with the deliverer's first look at the queue
    assert {"IntakeClosed", *(name for name, source in SOURCES.items() if source.grows)} <= set(told)
    assert left[-1] == "daemon.stopped"


def test_spool_is_on_a_disk_that_stays():
    """A disk that went with the machine, the task or the pod would take accepted mail with it."""
    assert STACK["Disk"]["DeletionPolicy"] == "Snapshot"
    assert "final_snapshot    = true" in MODULE
    pods = find_object("StatefulSet")["spec"]
    assert set(pods["persistentVolumeClaimRetentionPolicy"].values()) == {"Retain"}
    for mounts in (
        STACK["Task"]["Properties"]["ContainerDefinitions"][0]["MountPoints"],
        [
            {"ContainerPath": each["mountPath"]}
            for each in pods["template"]["spec"]["containers"][0]["volumeMounts"]
        ],
    ):
        assert "/var/lib/relay" in {each["ContainerPath"] for each in mounts}


def test_one_relay_has_the_spool():
    """Two on one spool would wait for each other's lock, and one of them for ever."""
    deployment = STACK["Service"]["Properties"]["DeploymentConfiguration"]
    assert deployment == {"MinimumHealthyPercent": 0, "MaximumPercent": 100}
    assert "deployment_maximum_percent         = 100" in MODULE
    assert find_object("StatefulSet")["spec"]["replicas"] == 1


def test_user_of_the_image_owns_the_disk():
    """The image runs as a user of its own, to whom each place gives the folder of the spool."""
    (user,) = re.findall(r"^USER (\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    security = find_object("StatefulSet")["spec"]["template"]["spec"]["securityContext"]
    assert {security["runAsUser"], security["fsGroup"]} == {int(user)}
    script = STACK["LaunchTemplate"]["Properties"]["LaunchTemplateData"]["UserData"]["Fn::Base64"]
    for text in (script, MODULE):
        assert f"install -d -o {user} -g {user} -m 0700 /spool/relay" in text


def test_a_stop_has_the_time_that_it_takes():
    """Sessions are drained, then the deliverer: as the unit of systemd has it."""
    (seconds,) = re.findall(
        r"^TimeoutStopSec=(\d+)$", (ROOT / "systemd" / "relay.service").read_text(), re.MULTILINE
    )
    task = STACK["Task"]["Properties"]["ContainerDefinitions"][0]
    assert task["StopTimeout"] == int(seconds)
    assert f"stopTimeout            = {seconds}" in MODULE
    assert find_object("StatefulSet")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == int(
        seconds
    )


def test_peers_are_named_by_the_load_balancer():
    """Without PROXY each peer would have the address of the load balancer, and share its limits."""
    attributes = {
        each["Key"]: each["Value"] for each in STACK["Targets"]["Properties"]["TargetGroupAttributes"]
    }
    assert attributes["proxy_protocol_v2.enabled"] == "true"
    assert re.search(r"proxy_protocol_v2 +=? *= true", MODULE)
    annotations = [each["metadata"].get("annotations", {}) for each in OBJECTS if each["kind"] == "Service"]
    assert any("proxy_protocol_v2.enabled=true" in str(each) for each in annotations)


# --- The flow


FLOW = json.loads((DEPLOY / "connect" / "flow.json").read_text())
ACTIONS = {action["Identifier"]: action for action in FLOW["Actions"]}
#: The words that an attribute may have, for those that have few.
WORDS = {
    "classification": set(Classification),
    "virus": set(ScanWord),
    "risk": set(RiskCode),
    "priority": {str(number) for number in range(1, 11)},
}


def next_of(action):
    """The identifiers that an action leads to."""
    transitions = action["Transitions"]
    found = [each["NextAction"] for kind in ("Conditions", "Errors") for each in transitions.get(kind, ())]
    return [*found, *([transitions["NextAction"]] if "NextAction" in transitions else [])]


def test_flow_asks_for_attributes_that_we_set():
    """A condition on a name or a word that no contact has would never be met."""
    asked = set(re.findall(r"\$\.Attributes\.relay_(\w+)", json.dumps(FLOW)))
    assert asked == set(WORDS)
    assert asked <= set(MEANINGS)
    for action in FLOW["Actions"]:
        if action["Type"] == "Compare":
            name = action["Parameters"]["ComparisonValue"].removeprefix("$.Attributes.relay_")
            for condition in action["Transitions"]["Conditions"]:
                (word,) = condition["Condition"]["Operands"]
                assert word in WORDS[name], word


def test_every_blank_of_the_flow_is_named_in_the_documents():
    """Whoever imports it must know what to fill in."""
    blanks = set(re.findall(r'"([A-Z]+(?:_[A-Z]+)+)"', json.dumps(FLOW)))
    assert len(blanks) == 5
    page = (ROOT / "docs" / "deploy.md").read_text()
    assert {blank for blank in blanks if f"`{blank}`" not in page} == set()


def test_flow_leads_somewhere_from_everywhere():
    """Each action is reached, each leads to one that is there, and only two of them end the flow."""
    reached, todo = set(), [FLOW["StartAction"]]
    while todo:
        name = todo.pop()
        if name not in reached:
            reached.add(name)
            todo += next_of(ACTIONS[name])
    assert reached == set(ACTIONS)
    assert [name for name, action in ACTIONS.items() if not next_of(action)] == ["end"]


@pytest.mark.parametrize(
    ("attributes", "is_open", "way"),
    [
        ({"virus": "virus"}, True, ["end"]),
        ({"classification": "auto-reply"}, False, ["end"]),
        ({"classification": "bulk"}, True, ["end"]),
        ({"classification": "human"}, True, ["transfer"]),
        ({"classification": "human"}, False, ["acknowledge", "transfer"]),
        ({"classification": "list"}, True, ["transfer"]),
        ({"classification": "bounce"}, False, ["bounce first", "transfer"]),
        ({"classification": "human", "priority": "1"}, True, ["vip first", "transfer"]),
        (
            {"classification": "human", "risk": "file.executable link.other_host"},
            False,
            ["risk last", "transfer"],
        ),
    ],
)
def test_flow_goes_its_way(attributes, is_open, way):
    """Robots and viruses end; a person who writes at night gets an answer; no machine does."""
    name, passed = FLOW["StartAction"], []
    while True:
        action = ACTIONS[name]
        if action["Type"] not in ("Compare", "CheckHoursOfOperation", "UpdateContactTargetQueue"):
            passed.append(name)
        if action["Type"] in ("TransferContactToQueue", "DisconnectParticipant"):
            break
        name = follow(action, attributes, is_open=is_open)
    assert passed == way


def follow(action, attributes, *, is_open):
    """The next action for a contact with these attributes."""
    transitions = action["Transitions"]
    name = action["Parameters"].get("ComparisonValue", "").removeprefix("$.Attributes.relay_")
    value = str(is_open) if action["Type"] == "CheckHoursOfOperation" else attributes.get(name, "")
    for condition in transitions.get("Conditions", ()):
        (word,) = condition["Condition"]["Operands"]
        contains = condition["Condition"]["Operator"] == "TextContains"
        if word == value or (contains and word in value):
            return condition["NextAction"]
    return transitions["NextAction"]
