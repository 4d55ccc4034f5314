{{/* Names of upstream's chart: those that mean something here are taken over, others refused with what to do instead.
What they switch off is passed over: it is not there. */}}

{{/* "true" or "false" where a switch is set here or by upstream's global name: list of root, value, that name. */}}
{{- define "dynamo.chosen" -}}
{{- $value := index . 1 -}}
{{- $global := dig "global" (index . 2) "enabled" nil (merge (dict) (index . 0).Values) -}}
{{- if kindIs "bool" $value -}}{{ $value }}
{{- else if $global -}}true
{{- end -}}
{{- end -}}

{{- define "dynamo.check" -}}
{{- $values := merge (dict) .Values -}}
{{- $op := index .Values "dynamo-operator" -}}
{{- range $name, $what := dict "etcd" "discovery needs none" "grove" "the operator finds it once it is there" "kai-scheduler" "then set dynamo-operator.orchestrators.kaiScheduler" "snapshot" "checkpoints are not implemented" -}}
{{- if dig "global" $name "install" false $values -}}
{{- fail (printf "global.%s.install: this chart does not install it; %s" $name $what) -}}
{{- end -}}
{{- if dig $name "enabled" false $values -}}
{{- fail (printf "%s.enabled: this chart does not install it; %s" $name $what) -}}
{{- end -}}
{{- end -}}
{{- if .Values.nats.enabled -}}{{- fail "nats.enabled: set global.nats.install" -}}{{- end -}}
{{- range $path, $hint := dict
  "gpuDiscovery.enabled" "only DynamoGraphDeploymentRequests need it, which are not served; leave it out"
  "checkpoint.enabled" "checkpoints are not implemented; leave it out"
  "webhook.podCheckpointRestoreFailurePolicy" "checkpoints are not implemented; leave it out"
  "dynamo.dockerRegistry.server" "graphs name their images; leave it out"
  "dynamo.dockerRegistry.existingSecretName" "pull secrets are found by the registry of a graph's images; leave it out"
  "dynamo.serviceMesh.provider" "set dynamo-operator.dynamo.istio.enabled and .gateway"
  "dynamo.serviceMesh.enabled" "set dynamo-operator.dynamo.istio.enabled and .gateway"
-}}
{{- $at := splitList "." $path -}}
{{- $found := $op -}}
{{- range $at -}}{{- $found = dig . nil (merge (dict) ($found | default dict)) -}}{{- end -}}
{{- if $found -}}{{- fail (printf "dynamo-operator.%s: found %v; %s" $path $found $hint) -}}{{- end -}}
{{- end -}}
{{- $ssh := dig "dynamo" "mpiRun" "secretName" "" (merge (dict) $op) -}}
{{- if and $ssh (ne $ssh "mpi-run-ssh-secret") -}}
{{- fail (printf "dynamo-operator.dynamo.mpiRun.secretName: found %s; the key pair is made in each namespace as mpi-run-ssh-secret; leave it out" $ssh) -}}
{{- end -}}
{{- include "dynamo.checkTogether" . -}}
{{- end -}}

{{/* Values that are right one by one. */}}
{{- define "dynamo.checkTogether" -}}
{{- $op := index .Values "dynamo-operator" -}}
{{- if and (gt (int $op.controllerManager.replicas) 1) (not $op.controllerManager.leaderElection.enabled) -}}
{{- fail "dynamo-operator.controllerManager.replicas: more than 1 need dynamo-operator.controllerManager.leaderElection.enabled: else all of them lead" -}}
{{- end -}}
{{- if and $op.dynamo.ingress.enabled (not $op.dynamo.ingress.className) -}}
{{- fail "dynamo-operator.dynamo.ingress.className: found nothing; allowed: the IngressClass that frontends get with ingress.enabled" -}}
{{- end -}}
{{- if and $op.dynamo.istio.enabled (not $op.dynamo.istio.gateway) -}}
{{- fail "dynamo-operator.dynamo.istio.gateway: found nothing; allowed: the gateway that frontends get with istio.enabled" -}}
{{- end -}}
{{- $ports := list (int $op.webhook.port) (int $op.metricsService.port) 8081 -}}
{{- if ne (len ($ports | uniq)) 3 -}}
{{- fail (printf "dynamo-operator.webhook.port and .metricsService.port: found %d and %d; allowed: two different ones, and not 8081, where the operator tells its health" (index $ports 0) (index $ports 1)) -}}
{{- end -}}
{{- if and $op.webhook.certManager.enabled $op.webhook.certificateSecret.external -}}
{{- fail "dynamo-operator.webhook.certManager.enabled and .certificateSecret.external: one of them makes the certificate" -}}
{{- end -}}
{{- end -}}
