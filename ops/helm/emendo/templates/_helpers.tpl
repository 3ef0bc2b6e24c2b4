{{/* Names, and what the pods of all processes have in common. */}}

{{- define "emendo.name" -}}
{{ default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* The release's name stands for it when it says emendo already. A worker's name is added, so it is kept short. */}}
{{- define "emendo.fullname" -}}
{{- $name := include "emendo.name" . -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains $name .Release.Name -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{- define "emendo.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (include "emendo.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{ default "default" .Values.serviceAccount.name }}
{{- end -}}
{{- end }}

{{/* Arguments: root, component. */}}
{{- define "emendo.selector" -}}
app.kubernetes.io/name: {{ include "emendo.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "emendo.labels" -}}
{{ include "emendo.selector" . }}
app.kubernetes.io/part-of: emendo
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Without the chart's version: a new one alone restarts nothing. */}}
{{- define "emendo.podLabels" -}}
{{ include "emendo.selector" . }}
app.kubernetes.io/part-of: emendo
{{- with .root.Values.podLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Arguments: root, image (a component's own tag and digest). */}}
{{- define "emendo.image" -}}
{{- $own := default (dict) .image -}}
{{- $digest := coalesce $own.digest (and (not $own.tag) .root.Values.image.digest) -}}
{{- if $digest -}}
{{ printf "%s@%s" .root.Values.image.repository $digest }}
{{- else -}}
{{ printf "%s:%s" .root.Values.image.repository (coalesce $own.tag .root.Values.image.tag .root.Chart.AppVersion) }}
{{- end -}}
{{- end }}

{{/* The settings whose names begin so, as lines of a ConfigMap. Arguments: root, prefixes; or other: none of them. */}}
{{- define "emendo.settings" -}}
{{- range $name, $value := .root.Values.settings }}
{{- $special := false }}
{{- range $.prefixes }}{{- if hasPrefix . $name }}{{- $special = true }}{{- end }}{{- end }}
{{- if ne $special (default false $.other) }}
{{ $name }}: {{ $value | toString | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* What a role's process reads. Arguments: root, role, and its lists of ConfigMaps and secrets. */}}
{{- define "emendo.envFrom" -}}
{{- $fullname := include "emendo.fullname" .root -}}
- configMapRef: {name: {{ $fullname }}-common}
{{- range .configMaps }}
- configMapRef: {name: {{ $fullname }}-{{ . }}}
{{- end }}
- secretRef: {name: {{ index .root.Values.secrets.redis .role }}}
{{- range .secrets }}{{- if . }}
- secretRef: {name: {{ . }}}
{{- end }}{{- end }}
{{- end }}

{{/* Changes when a setting does, so that pods restart. Values of secrets are not seen: restart after changing one. */}}
{{- define "emendo.annotations" -}}
checksum/settings: {{ toJson .root.Values.settings | sha256sum }}
{{- with .root.Values.podAnnotations }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The pod of every process, but for its containers. Arguments: root, component. */}}
{{- define "emendo.pod" -}}
{{- $values := .root.Values -}}
serviceAccountName: {{ include "emendo.serviceAccount" .root }}
automountServiceAccountToken: false
# Variables of services would look like settings of the gateway, such as one that ends in _PORT.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- with $values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
{{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "emendo.selector" $ | nindent 8 }}
    # Without it the pods of the old revision count, and the new ones end up unevenly.
    matchLabelKeys: [pod-template-hash]
{{- end }}
volumes:
  - name: tmp
    emptyDir: {sizeLimit: 64Mi}
{{- if $values.ca.existingSecret }}
  - name: ca
    secret: {secretName: {{ $values.ca.existingSecret }}, items: [{key: ca.crt, path: ca.crt}]}
{{- else if $values.ca.existingConfigMap }}
  - name: ca
    configMap: {name: {{ $values.ca.existingConfigMap }}, items: [{key: ca.crt, path: ca.crt}]}
{{- end }}
{{- end }}

{{/* Of every container. */}}
{{- define "emendo.container" -}}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
{{- if or .root.Values.ca.existingSecret .root.Values.ca.existingConfigMap }}
  - {name: ca, mountPath: /etc/emendo/ca, readOnly: true}
{{- end }}
{{- end }}

{{/* Checks that need more than the schema. */}}
{{- define "emendo.check" -}}
{{- $queues := list -}}
{{- $alive := false -}}
{{- range $lane, $worker := .Values.workers -}}
{{- if $worker -}}
{{- $queues = concat $queues $worker.queues -}}
{{- $kind := $worker.autoscaling.kind -}}
{{- if gt (int (ternary $worker.replicas $worker.autoscaling.minReplicas (eq $kind "none"))) 0 }}{{- $alive = true }}{{- end -}}
{{- if and (eq $kind "hpa") (lt (int $worker.autoscaling.minReplicas) 1) -}}
{{- fail (printf "workers.%s.autoscaling.minReplicas is 0: only kind keda can start the first pod again" $lane) -}}
{{- end -}}
{{- if gt (int $worker.autoscaling.minReplicas) (int $worker.autoscaling.maxReplicas) -}}
{{- fail (printf "workers.%s.autoscaling.minReplicas is above its maxReplicas" $lane) -}}
{{- end -}}
{{- if and (eq $kind "keda") (not $.Values.keda.existingSecret) -}}
{{- fail (printf "workers.%s.autoscaling.kind is keda: name a secret with the key apiKey as keda.existingSecret" $lane) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range list "interactive" "inference" "bulk" "maintenance" -}}
{{- if not (has . $queues) -}}
{{- fail (printf "no worker takes the queue %s: its jobs would wait for ever; add it to the queues of one of workers" .) -}}
{{- end -}}
{{- end -}}
{{- if not $alive -}}
{{- fail "no worker is always there, so nobody tries jobs again or finds lost ones: leave one of workers at least one pod" -}}
{{- end -}}
{{- if and .Values.flower.enabled (not .Values.secrets.flower) -}}
{{- fail "flower.enabled: name a secret with the key EMENDO_FLOWER_PASSWORD as secrets.flower" -}}
{{- end -}}
{{- if and .Values.ca.existingSecret .Values.ca.existingConfigMap -}}
{{- fail "ca.existingSecret and ca.existingConfigMap: set one of them" -}}
{{- end -}}
{{- $settings := .Values.settings -}}
{{- $drain := addf (default 20 $settings.EMENDO_DRAIN_BUDGET) (default 20 $settings.EMENDO_EMBEDDING_TIMEOUT) -}}
{{- if le (float64 .Values.workerTerminationGracePeriodSeconds) $drain -}}
{{- fail (printf "workerTerminationGracePeriodSeconds must be above EMENDO_DRAIN_BUDGET and EMENDO_EMBEDDING_TIMEOUT together (%v): a worker would be killed at its work" $drain) -}}
{{- end -}}
{{- $end := addf 5 (default 10 $settings.EMENDO_GATEWAY_SHUTDOWN_TIMEOUT) -}}
{{- if le (float64 .Values.gateway.terminationGracePeriodSeconds) $end -}}
{{- fail (printf "gateway.terminationGracePeriodSeconds must be above EMENDO_GATEWAY_SHUTDOWN_TIMEOUT and 5 seconds (%v): requests would be cut off" $end) -}}
{{- end -}}
{{- if gt (int .Values.gateway.autoscaling.minReplicas) (int .Values.gateway.autoscaling.maxReplicas) -}}
{{- fail "gateway.autoscaling.minReplicas is above its maxReplicas" -}}
{{- end -}}
{{- end }}
