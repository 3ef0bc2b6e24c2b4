"""ops/helm/emendo as Helm renders it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

CHART = Path(__file__).resolve().parents[2] / "ops" / "helm" / "emendo"
RELEASE, NAMESPACE = "emendo", "memories"
# Everything that is optional, at once.
EVERYTHING: dict[str, Any] = {
    "image": {"digest": f"sha256:{'0' * 64}", "pullSecrets": ["registry"]},
    "settings": {
        "EMENDO_LOG_LEVEL": "WARNING",
        "EMENDO_TASK_EVENTS": False,
        "EMENDO_EMBEDDING_BASE_URL": "https://embeddings.example.com/v1",
        "EMENDO_CHAT_MODEL": "some-model",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector.traces.svc:4318",
        "EMENDO_GATEWAY_MAX_READS": 32,
        "EMENDO_FLOWER_USER": "operator",
    },
    "secrets": {"embedding": "embedding-key", "chat": "chat-key", "flower": "flower-password"},
    "ca": {"existingSecret": "our-ca"},
    "workers": {
        "interactive": {"autoscaling": {"kind": "keda"}},
        "inference": None,
        "bulk": {"queues": ["bulk", "inference"], "autoscaling": {"kind": "keda", "minReplicas": 0}},
        "maintenance": {"autoscaling": {"kind": "hpa"}},
    },
    "keda": {"existingSecret": "scaler-key"},
    "gateway": {
        "image": {"tag": "0.0.9"},
        "hosts": ["memories.example.com"],
        "service": {"type": "LoadBalancer", "annotations": {"some": "annotation"}},
        "autoscaling": {"kind": "hpa"},
    },
    "flower": {"enabled": True, "urlPrefix": "/flower"},
    "networkPolicy": {
        "gatewayFrom": [{"namespaceSelector": {"matchLabels": {"name": "apps"}}}],
        "flowerFrom": [{"podSelector": {}}],
        "redis": {"peers": [{"ipBlock": {"cidr": "10.0.0.0/24"}}], "ports": [6380, 26379]},
        "broker": {"peers": [], "ports": [5671]},
        "traces": {"peers": [], "ports": [4318]},
    },
    "monitoring": {
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "prometheusRule": {"enabled": True, "runbooks": "https://docs.example.com/emendo/"},
    },
    "test": {"existingSecret": "test-key"},
    "serviceAccount": {"annotations": {"some": "annotation"}},
    "podAnnotations": {"some": "annotation"},
    "podLabels": {"team": "memories"},
    "nodeSelector": {"kubernetes.io/arch": "amd64"},
    "tolerations": [{"key": "memories", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {}},
    "priorityClassName": "important",
}


class Rendered(NamedTuple):
    """The objects of a release, and the notes for the person who installed it."""

    objects: list[dict[str, Any]]
    notes: str

    def of(self, kind: str) -> dict[str, dict[str, Any]]:
        """The objects of a kind by their names, without the release's."""
        return {
            each["metadata"]["name"].removeprefix(f"{RELEASE}-"): each for each in self.objects if each["kind"] == kind
        }

    def pods(self) -> dict[str, dict[str, Any]]:
        """The specification of each pod by its component."""
        deployments = {name: each["spec"]["template"]["spec"] for name, each in self.of("Deployment").items()}
        return {**deployments, "test": self.of("Pod")["test"]["spec"]}

    def containers(self) -> dict[str, dict[str, Any]]:
        """The container of each pod: there is one."""
        found = {}
        for name, pod in self.pods().items():
            (found[name],) = pod["containers"]
        return found

    def variables(self, component: str) -> dict[str, str]:
        """The variables that come from ConfigMaps, which are no secrets."""
        maps = self.of("ConfigMap")
        read = [
            each["configMapRef"]["name"] for each in self.containers()[component]["envFrom"] if "configMapRef" in each
        ]
        return {
            name: value
            for map_ in read
            for name, value in (maps[map_.removeprefix(f"{RELEASE}-")]["data"] or {}).items()
        }

    def secrets(self, component: str) -> list[str]:
        """The names of the secrets whose keys are variables."""
        return [each["secretRef"]["name"] for each in self.containers()[component]["envFrom"] if "secretRef" in each]


def render(values: dict[str, Any] | None = None, name: str = RELEASE) -> Rendered:
    """The release, with the values checked by the chart's schema.

    Raises:
        HelmError: the schema or a template refuses the values.
    """
    helm = pytest.importorskip("helm_python", reason="helm-python-sdk has no wheel for this machine")
    with helm.Chart.load(CHART) as chart:
        chart.validate_schema(values or {})
        files: dict[str, str] = chart.render(values=values or {}, name=name, namespace=NAMESPACE)
    objects = [
        each
        for path, text in sorted(files.items())
        if path.endswith(".yaml")
        for each in yaml.safe_load_all(text)
        if each is not None
    ]
    return Rendered(objects, files["emendo/templates/NOTES.txt"])
