{{/* What the operator, planners and endpoint pickers may do. */}}
{{- define "dynamo.operatorRules" }}
{{- $op := index .Values "dynamo-operator" }}
{{- $own := list "get" "list" "watch" "create" "patch" "delete" }}
- apiGroups: [nvidia.com]
  resources: [dynamographdeployments, dynamomodels]
  verbs: [get, list, watch, patch]
- apiGroups: [nvidia.com]
  resources: [dynamocomponentdeployments, dynamographdeploymentscalingadapters]
  verbs: {{ toJson $own }}
- apiGroups: [nvidia.com]
  resources:
    - dynamographdeployments/status
    - dynamocomponentdeployments/status
    - dynamographdeploymentscalingadapters/status
    - dynamomodels/status
  verbs: [patch]
# Owner references that block deletion, where the cluster enforces the right to set them.
- apiGroups: [nvidia.com]
  resources:
    - dynamographdeployments/finalizers
    - dynamocomponentdeployments/finalizers
    - dynamomodels/finalizers
  verbs: [update]
# Held because the discovery Role of every graph grants it.
- apiGroups: [nvidia.com]
  resources: [dynamoworkermetadatas]
  verbs: [get, list, watch, create, update, patch, delete]
- apiGroups: [""]
  resources: [endpoints, pods]
  verbs: [get, list, watch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [get, list, watch]
- apiGroups: [apps]
  resources: [deployments]
  verbs: {{ toJson $own }}
- apiGroups: [""]
  resources: [services, serviceaccounts, configmaps, persistentvolumeclaims]
  verbs: {{ toJson $own }}
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
{{- if $op.imagePullSecretDiscovery.enabled }}
- apiGroups: [""]
  resources: [secrets]
  verbs: [list]
{{- end }}
# The key pair that the nodes of a TensorRT-LLM group log in to each other with.
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [mpi-run-ssh-secret]
  verbs: [get, patch]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: {{ toJson $own }}
- apiGroups: [networking.k8s.io]
  resources: [ingresses]
  verbs: {{ toJson $own }}
- apiGroups: [networking.istio.io]
  resources: [virtualservices, destinationrules]
  verbs: {{ toJson $own }}
- apiGroups: [inference.networking.k8s.io]
  resources: [inferencepools]
  verbs: {{ toJson $own }}
- apiGroups: [resource.k8s.io]
  resources: [resourceclaimtemplates]
  verbs: {{ toJson $own }}
- apiGroups: [leaderworkerset.x-k8s.io]
  resources: [leaderworkersets]
  verbs: {{ toJson $own }}
- apiGroups: [scheduling.volcano.sh]
  resources: [podgroups]
  verbs: {{ toJson $own }}
- apiGroups: [grove.io]
  resources: [podcliquesets]
  verbs: {{ toJson $own }}
- apiGroups: [grove.io]
  resources: [podcliques, podcliquescalinggroups]
  verbs: [get, list, watch]
- apiGroups: [grove.io]
  resources: [podcliques/scale, podcliquescalinggroups/scale]
  verbs: [patch]
{{- end }}

{{- define "dynamo.plannerRules" }}
- apiGroups: [nvidia.com]
  resources: [dynamographdeployments]
  verbs: [get, patch]
- apiGroups: [nvidia.com]
  resources: [dynamographdeploymentscalingadapters]
  verbs: [get]
- apiGroups: [nvidia.com]
  resources: [dynamographdeploymentscalingadapters/scale]
  verbs: [get, patch]
- apiGroups: [nvidia.com]
  resources: [dynamoworkermetadatas]
  verbs: [get, list, watch, create, update, patch, delete]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list]
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
{{- end }}

{{- define "dynamo.eppRules" }}
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
- apiGroups: [inference.networking.k8s.io]
  resources: [inferencepools]
  verbs: [get, list, watch]
- apiGroups: [inference.networking.x-k8s.io]
  resources: [inferenceobjectives, inferencemodelrewrites]
  verbs: [get, list, watch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [get, list, watch]
- apiGroups: [nvidia.com]
  resources: [dynamoworkermetadatas]
  verbs: [get, list, watch, create, update, patch, delete]
- apiGroups: [authentication.k8s.io]
  resources: [tokenreviews]
  verbs: [create]
- apiGroups: [authorization.k8s.io]
  resources: [subjectaccessreviews]
  verbs: [create]
{{- end }}
