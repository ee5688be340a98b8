{{- /* Name of all objects: that of the release, as Gateways' own objects are named after the Gateway. */ -}}
{{- define "agentgateway.name" -}}
{{- $name := printf "%s-controlplane" .Release.Name -}}
{{- if contains "controlplane" .Release.Name }}{{ $name = .Release.Name }}{{ end -}}
{{- $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "agentgateway.serviceAccountName" -}}
{{- default (include "agentgateway.name" .) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "agentgateway.selector" -}}
app.kubernetes.io/name: agentgateway-controlplane
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "agentgateway.labels" -}}
{{ include "agentgateway.selector" . }}
app.kubernetes.io/component: controlplane
app.kubernetes.io/part-of: agentgateway
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "agentgateway.image" -}}
{{- $tag := default (default .context.Chart.AppVersion .context.Values.image.tag) .tag -}}
{{- with .context.Values.image.registry }}{{ . }}/{{ end }}{{ .repository }}:{{ $tag }}
{{- end -}}

{{- define "agentgateway.subjects" -}}
- kind: ServiceAccount
  name: {{ include "agentgateway.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}

{{- /* What the control plane may do in each namespace that it looks at. */ -}}
{{- define "agentgateway.namespaceRules" -}}
# Inputs.
- apiGroups: [gateway.networking.k8s.io]
  resources:
  - gateways
  - listenersets
  - httproutes
  - grpcroutes
  - tlsroutes
  - tcproutes
  - udproutes
  - backendtlspolicies
  - referencegrants
  verbs: [list, watch]
- apiGroups: [gateway.kgateway.dev]
  resources: [backends, trafficpolicies, gatewayextensions, directresponses, gatewayparameters]
  verbs: [list, watch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
# Pools of model servers, and their pods: these are watched only where the cluster has InferencePools.
- apiGroups: [inference.networking.k8s.io]
  resources: [inferencepools]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
# Certificates and keys: the names of all, the content of those that objects refer to.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch]
# Statuses.
- apiGroups: [gateway.networking.k8s.io]
  resources:
  - gateways/status
  - listenersets/status
  - httproutes/status
  - grpcroutes/status
  - tlsroutes/status
  - tcproutes/status
  - udproutes/status
  - backendtlspolicies/status
  verbs: [patch]
- apiGroups: [gateway.kgateway.dev]
  resources: [backends/status, trafficpolicies/status, gatewayextensions/status]
  verbs: [patch]
- apiGroups: [inference.networking.k8s.io]
  resources: [inferencepools/status]
  verbs: [patch]
# What is deployed for a Gateway, in its namespace. Services and ConfigMaps are inputs as well.
- apiGroups: [""]
  resources: [services, serviceaccounts, configmaps]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments, daemonsets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
# What proxies cannot apply is told as Events.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}
