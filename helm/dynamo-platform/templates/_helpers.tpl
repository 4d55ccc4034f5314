{{- define "dynamo.op" -}}{{- index .Values "dynamo-operator" | toYaml -}}{{- end -}}

{{- define "dynamo.namespace" -}}
{{- $op := index .Values "dynamo-operator" -}}
{{- $op.namespaceRestriction.targetNamespace | default .Release.Namespace -}}
{{- end -}}

{{- define "dynamo.webhookService" -}}dynamo-operator-webhook-service{{- end -}}

{{- define "dynamo.image" -}}
{{- $image := (index .Values "dynamo-operator").controllerManager.manager.image -}}
{{ $image.repository }}:{{ $image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "dynamo.labels" -}}
app.kubernetes.io/name: dynamo-operator
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{- define "dynamo.selector" -}}
app.kubernetes.io/name: dynamo-operator
app.kubernetes.io/instance: {{ .Release.Name }}
control-plane: controller-manager
{{- end -}}

{{/* Names of cluster-scoped objects: one operator per namespace must not take another's. */}}
{{- define "dynamo.clusterName" -}}
{{- if (index .Values "dynamo-operator").namespaceRestriction.enabled -}}
dynamo-operator-{{ include "dynamo.namespace" . }}
{{- else -}}
dynamo-operator
{{- end -}}
{{- end -}}

{{- define "dynamo.natsAddress" -}}
{{- $op := index .Values "dynamo-operator" -}}
{{- if $op.natsAddr -}}{{ $op.natsAddr }}
{{- else if .Values.global.nats.install -}}nats://{{ .Release.Name }}-nats.{{ .Release.Namespace }}.svc:4222
{{- end -}}
{{- end -}}

{{/* Restricted Pod Security, for every container of this chart. */}}
{{- define "dynamo.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "dynamo.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* "true" when a three-state value is on, or unset where the cluster serves the kind: list of value, capabilities, kind. */}}
{{- define "dynamo.isOn" -}}
{{- $value := index . 0 -}}
{{- if kindIs "bool" $value -}}{{- if $value -}}true{{- end -}}
{{- else if (index . 1).APIVersions.Has (index . 2) -}}true
{{- end -}}
{{- end -}}

{{- define "dynamo.testHook" }}
annotations:
  helm.sh/hook: test
  helm.sh/hook-weight: {{ . | quote }}
  helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{- define "dynamo.crdHook" }}
annotations:
  helm.sh/hook: pre-install,pre-upgrade
  helm.sh/hook-weight: {{ . | quote }}
  helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{- define "dynamo.webhookCommon" }}
{{- $op := index .Values "dynamo-operator" }}
admissionReviewVersions: [v1]
sideEffects: None
matchPolicy: Equivalent
failurePolicy: {{ $op.webhook.failurePolicy }}
timeoutSeconds: {{ $op.webhook.timeoutSeconds }}
{{- if $op.namespaceRestriction.enabled }}
namespaceSelector:
  matchLabels:
    kubernetes.io/metadata.name: {{ include "dynamo.namespace" . }}
{{- end }}
{{- end }}
