"""ops/helm/emendo: Helm renders it, Kubernetes' schemas accept it, and its own schema refuses wrong values."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.support.chart import CHART, EVERYTHING, RELEASE, render

ROOT = CHART.parents[2]
KUBERNETES = "1.37.0"
VALUES = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
# Objects of other projects: the fields that they need, from their own documentation, as paths.
FOREIGN = {
    "ScaledObject": {"spec.scaleTargetRef.name", "spec.triggers"},
    "TriggerAuthentication": {"spec.secretTargetRef"},
    "ServiceMonitor": {"spec.selector.matchLabels", "spec.endpoints"},
    "PrometheusRule": {"spec.groups"},
}
RELEASES = {"defaults": {}, "everything": EVERYTHING}


@pytest.fixture(scope="module", params=RELEASES)
def release(request):
    return render(RELEASES[request.param])


@pytest.fixture(scope="module")
def everything():
    return render(EVERYTHING)


@pytest.fixture(scope="module")
def defaults():
    return render()


def test_kubernetes_accepts_every_object(release, monkeypatch):
    # They are megabytes, and would be read again for each object.
    monkeypatch.setattr(kubernetes_validate.utils, "schema_contents", cache(kubernetes_validate.utils.schema_contents))
    for each in release.objects:
        if each["kind"] not in FOREIGN:
            kubernetes_validate.validate(each, KUBERNETES, strict=True)
    # The schemas do tell wrong from right.
    wrong = {**release.of("Service")["gateway"], "speck": {}}
    with pytest.raises(kubernetes_validate.ValidationError, match="speck"):
        kubernetes_validate.validate(wrong, KUBERNETES, strict=True)


def test_names_are_unique_and_every_object_is_of_the_release(release):
    names = [(each["kind"], each["metadata"]["name"]) for each in release.objects]
    assert len(set(names)) == len(names)
    for each in release.objects:
        assert each["metadata"]["name"].startswith(RELEASE)
        assert each["metadata"]["labels"]["app.kubernetes.io/instance"] == RELEASE


def test_objects_of_other_projects_have_what_these_need(everything):
    found = {each["kind"]: each for each in everything.objects if each["kind"] in FOREIGN}
    assert found.keys() == FOREIGN.keys()
    for kind, paths in FOREIGN.items():
        for path in paths:
            value: Any = found[kind]
            for part in path.split("."):
                value = value[part]
            assert value, path


def test_a_release_with_another_name_has_other_objects():
    names = {each["metadata"]["name"] for each in render(name="acme").objects}
    assert names
    assert all(name.startswith("acme-emendo") for name in names)


def test_no_pod_has_more_rights_than_it_needs(release):
    for name, pod in release.pods().items():
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert pod["automountServiceAccountToken"] is False, name
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & pod.keys(), name
        assert all(not {"hostPath"} & volume.keys() for volume in pod["volumes"]), name
    for name, container in release.containers().items():
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        assert "memory" in container["resources"]["limits"], name
        assert container["resources"]["requests"], name
    assert release.of("ServiceAccount")[RELEASE]["automountServiceAccountToken"] is False


def test_services_give_no_pod_variables_that_look_like_settings(release):
    """Kubernetes would set EMENDO_GATEWAY_PORT to an address, for a service of this name."""
    assert {name: pod["enableServiceLinks"] for name, pod in release.pods().items()} == dict.fromkeys(
        release.pods(), False
    )


def test_every_pod_is_chosen_by_its_own_selector_only(release):
    labels = {name: each["spec"]["template"]["metadata"]["labels"] for name, each in release.of("Deployment").items()}

    def chosen(selector: dict[str, str]) -> set[str]:
        return {name for name, own in labels.items() if selector.items() <= own.items()}

    for name, each in release.of("Deployment").items():
        assert chosen(each["spec"]["selector"]["matchLabels"]) == {name}
        for spread in each["spec"]["template"]["spec"]["topologySpreadConstraints"]:
            assert chosen(spread["labelSelector"]["matchLabels"]) == {name}
    for kind in ("PodDisruptionBudget", "NetworkPolicy"):
        for name, each in release.of(kind).items():
            selector = each["spec"].get("selector") or each["spec"]["podSelector"]
            assert chosen(selector["matchLabels"]) == {name} & labels.keys() or name == "gateway-from-test"
    for name, each in release.of("Service").items():
        assert chosen(each["spec"]["selector"]) == {name}
        (port,) = each["spec"]["ports"]
        (of_container,) = release.containers()[name]["ports"]
        assert port["targetPort"] == of_container["name"]


def test_beat_is_never_there_twice(release):
    beat = release.of("Deployment")["beat"]["spec"]
    assert (beat["replicas"], beat["strategy"]) == (1, {"type": "Recreate"})
    assert "beat" not in release.of("PodDisruptionBudget")


def test_every_pod_has_a_network_policy_and_only_some_are_reached(release):
    policies = release.of("NetworkPolicy")
    assert policies.keys() >= release.of("Deployment").keys()
    reached = {name for name, each in policies.items() if each["spec"]["ingress"]}
    assert reached - {"gateway-from-test"} == {"gateway", "flower"} & release.of("Deployment").keys()
    ports = {
        name: {port["port"] for rule in each["spec"].get("egress", []) for port in rule["ports"]}
        for name, each in policies.items()
    }
    outward = {name for name in release.of("Deployment") if name.startswith("worker-")} | {"gateway"}
    assert {name for name in ports if 443 in ports[name]} == outward
    assert {name for name in ports if 4318 in ports[name]} in (outward, set())


def test_flower_is_reached_by_named_peers_only():
    secrets = {"flower": "flower-password"}
    policy = render({"flower": {"enabled": True}, "secrets": secrets}).of("NetworkPolicy")["flower"]
    assert policy["spec"]["ingress"] == []


def test_the_number_of_pods_has_one_master(everything):
    """Each `helm upgrade` would otherwise undo what the autoscaler decided."""
    scaled = {*everything.of("HorizontalPodAutoscaler"), *everything.of("ScaledObject")}
    assert scaled == {"gateway", "worker-interactive", "worker-bulk", "worker-maintenance"}
    for name, each in everything.of("Deployment").items():
        assert ("replicas" in each["spec"]) == (name not in scaled), name


def test_keda_asks_the_gateway_for_each_queue_of_a_worker(everything):
    (trigger,) = everything.of("ScaledObject")["worker-interactive"]["spec"]["triggers"]
    service = everything.of("Service")["gateway"]
    assert trigger["type"] == "metrics-api"
    assert trigger["metadata"] == {
        "url": f"http://{service['metadata']['name']}.memories.svc:{service['spec']['ports'][0]['port']}/api/v1/scaling",
        "format": "json",
        "valueLocation": "queues.interactive.value",
        "targetValue": "1",
        "activationTargetValue": "0",
        "authMode": "bearer",
    }
    authentication = everything.of("TriggerAuthentication")["scaling"]
    assert trigger["authenticationRef"]["name"] == authentication["metadata"]["name"]
    assert authentication["spec"]["secretTargetRef"] == [{"parameter": "token", "name": "scaler-key", "key": "apiKey"}]
    bulk = everything.of("ScaledObject")["worker-bulk"]["spec"]
    places = [each["metadata"]["valueLocation"] for each in bulk["triggers"]]
    assert (places, bulk["minReplicaCount"]) == (["queues.bulk.value", "queues.inference.value"], 0)


def test_prometheus_gets_the_rules_of_this_repository(everything):
    rules = (ROOT / "ops" / "prometheus" / "rules.yml").read_text(encoding="utf-8")
    assert (CHART / "files" / "rules.yml").read_text(encoding="utf-8") == rules, "copy ops/prometheus/rules.yml there"
    linked = rules.replace("runbook_url: docs/", "runbook_url: https://docs.example.com/emendo/docs/")
    assert everything.of("PrometheusRule")[RELEASE]["spec"]["groups"] == yaml.safe_load(linked)["groups"]
    monitor = everything.of("ServiceMonitor")[RELEASE]["spec"]
    assert monitor["endpoints"] == [{"port": "http", "path": "/metrics", "interval": "15s", "scrapeTimeout": "5s"}]
    assert (
        monitor["selector"]["matchLabels"].items() <= everything.of("Service")["gateway"]["metadata"]["labels"].items()
    )


def test_workers_can_change_before_the_gateway_and_beat():
    """The order of docs/how-to/upgrade.md in two steps: the new image for workers, then for the others."""
    old = {"image": {"tag": "0.1.0"}}
    first = render({"image": {"tag": "0.2.0"}, "gateway": old, "beat": old})
    images = {name: each["image"] for name, each in first.containers().items()}
    workers = {name for name in images if name.startswith("worker-")}
    assert {images[name] for name in workers} == {"emendo:0.2.0"}
    assert {images[name] for name in images.keys() - workers} == {"emendo:0.1.0"}
    second = render({"image": {"tag": "0.2.0"}})
    assert {each["image"] for each in second.containers().values()} == {"emendo:0.2.0"}
    for name in workers:
        strategy = first.of("Deployment")[name]["spec"]["strategy"]
        assert strategy["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_a_digest_wins_and_an_own_tag_wins_over_a_common_digest(everything):
    images = {name: each["image"] for name, each in everything.containers().items()}
    assert images["worker-bulk"] == f"emendo@sha256:{'0' * 64}"
    assert images["gateway"] == "emendo:0.0.9"


def test_the_notes_say_what_to_do_next(defaults, everything):
    assert f"helm test {RELEASE}" in defaults.notes
    assert "secrets.embedding" in defaults.notes
    assert "secrets.embedding" not in everything.notes


WRONG = {
    "an unknown value": ({"replicaCount": 3}, "additional properties 'replicaCount' not allowed"),
    "a misspelt part": ({"gateway": {"replica": 3}}, "gateway.*'replica' not allowed"),
    "a password among the settings": ({"settings": {"EMENDO_FLOWER_PASSWORD": "x"}}, "EMENDO_FLOWER_PASSWORD"),
    "a key among the settings": ({"settings": {"EMENDO_CHAT_API_KEY": "x"}}, "EMENDO_CHAT_API_KEY"),
    "headers with keys": ({"settings": {"EMENDO_EMBEDDING_HEADERS": "{}"}}, "EMENDO_EMBEDDING_HEADERS"),
    "the address of Redis": ({"settings": {"EMENDO_REDIS_URL": "redis://x"}}, "EMENDO_REDIS_URL"),
    "a password in an address": ({"settings": {"EMENDO_CHAT_BASE_URL": "https://a:b@c/v1"}}, "EMENDO_CHAT_BASE_URL"),
    "another program's variable": ({"settings": {"PATH": "/tmp"}}, "PATH"),
    "a collector's key": ({"settings": {"OTEL_EXPORTER_OTLP_HEADERS": "key=x"}}, "OTEL_EXPORTER_OTLP_HEADERS"),
    "a second beat": ({"beat": {"replicas": 2}}, "beat.*'replicas' not allowed"),
    "an unknown queue": ({"workers": {"bulk": {"queues": ["slow"]}}}, "workers"),
    "a worker without a thread": ({"workers": {"bulk": {"concurrency": 0}}}, "workers"),
    "no limit of memory": ({"gateway": {"resources": {"limits": {"memory": None}}}}, "memory"),
    "a short end of workers": ({"workerTerminationGracePeriodSeconds": 10}, "workerTerminationGracePeriodSeconds"),
    "a tag with a digest": ({"image": {"tag": "0.1.0@sha256:00"}}, "tag"),
    "a peer of an unknown kind": ({"networkPolicy": {"gatewayFrom": [{"pods": "all"}]}}, "gatewayFrom"),
    "a queue without a worker": ({"workers": {"bulk": None}}, "no worker takes the queue bulk"),
    "nobody who sweeps": (
        {"workers": {name: {"replicas": 0} for name in VALUES["workers"]}},
        "no worker is always there",
    ),
    "KEDA without a key": (
        {"workers": {"bulk": {"autoscaling": {"kind": "keda"}}}},
        "name a secret with the key apiKey as keda.existingSecret",
    ),
    "an autoscaler by CPU from zero": (
        {"workers": {"bulk": {"autoscaling": {"kind": "hpa", "minReplicas": 0}}}},
        "only kind keda can start the first pod",
    ),
    "more at least than at most": (
        {"workers": {"bulk": {"autoscaling": {"minReplicas": 9}}}},
        "minReplicas is above its maxReplicas",
    ),
    "Flower without a password": ({"flower": {"enabled": True}}, "EMENDO_FLOWER_PASSWORD as secrets.flower"),
    "two CAs": ({"ca": {"existingSecret": "a", "existingConfigMap": "b"}}, "set one of them"),
    "a drain longer than the end": (
        {"settings": {"EMENDO_DRAIN_BUDGET": 60}},
        "workerTerminationGracePeriodSeconds must be above EMENDO_DRAIN_BUDGET",
    ),
    "requests longer than the end": (
        {"settings": {"EMENDO_GATEWAY_SHUTDOWN_TIMEOUT": "60"}},
        "gateway.terminationGracePeriodSeconds must be above EMENDO_GATEWAY_SHUTDOWN_TIMEOUT",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_values_are_refused_with_a_word_about_them(case):
    from helm_python.errors import HelmError

    values, words = WRONG[case]
    with pytest.raises(HelmError) as refused:
        render(values)
    assert re.search(words, str(refused.value), re.DOTALL), refused.value


def test_helm_finds_nothing_to_complain_about():
    chart = pytest.importorskip("helm_python.chart")
    for values in RELEASES.values():
        report = chart.lint(CHART, values, strict=True, kube_version="v1.30.0")
        assert [each for each in report["messages"] if "icon" not in each["error"]] == []
        assert report["errors"] == []
