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
