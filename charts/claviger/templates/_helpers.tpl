{{/*
What the chart knows about our kinds. A new credential kind is one entry here: RBAC, the aggregated roles, the deletion
guard and the fences follow. A new type of Secret goes into files/fence.yaml.
*/}}
{{- define "claviger.credentials" -}}
- kind: RegistryCredential
  plural: registrycredentials
- kind: BasicAuthCredential
  plural: basicauthcredentials
- kind: TlsCredential
  plural: tlscredentials
{{- end }}

{{/* The cluster-scoped kinds, which only cluster admins write. */}}
{{- define "claviger.clusterKinds" -}}
- kind: DistributionPolicy
  plural: distributionpolicies
- kind: MemberCluster
  plural: memberclusters
{{- end }}

{{/* What is looked at for who uses a Secret besides Pods, by the names that `references` has for it. */}}
{{- define "claviger.referenceKinds" -}}
workloads:
  - {group: apps, resources: [deployments, statefulsets, daemonsets, replicasets]}
  - {group: batch, resources: [jobs, cronjobs]}
serviceaccounts:
  - {group: "", resources: [serviceaccounts]}
ingresses:
  - {group: networking.k8s.io, resources: [ingresses]}
gateways:
  - {group: gateway.networking.k8s.io, resources: [gateways, listenersets, backendtlspolicies, referencegrants]}
traefik:
  - {group: traefik.io, resources: [ingressroutes, ingressroutetcps, tlsstores, tlsoptions, middlewares, serverstransports, serverstransporttcps]}
contour:
  - {group: projectcontour.io, resources: [httpproxies, extensionservices, tlscertificatedelegations]}
envoygateway:
  - {group: gateway.envoyproxy.io, resources: [securitypolicies, clienttrafficpolicies, envoyproxies, backends, httproutefilters, envoyextensionpolicies]}
  # Whether another namespace lets them use its Secrets.
  - {group: gateway.networking.k8s.io, resources: [referencegrants]}
{{- end }}

{{- define "claviger.credentialPlurals" -}}
{{- range include "claviger.credentials" . | fromYamlArray }}
- {{ .plural }}
{{- end }}
{{- end }}

{{- define "claviger.clusterKindPlurals" -}}
{{- range include "claviger.clusterKinds" . | fromYamlArray }}
- {{ .plural }}
{{- end }}
{{- end }}

{{- define "claviger.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* Short enough for the longest suffixes, -deletion-guard and -resource-fence. */}}
{{- define "claviger.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 48 | trimSuffix "-" }}
{{- else if contains (include "claviger.name" .) .Release.Name }}
{{- .Release.Name | trunc 48 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "claviger.name" .) | trunc 48 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "claviger.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "claviger.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.name must be set when serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* Who the operator is to the API server. */}}
{{- define "claviger.user" -}}
{{- printf "system:serviceaccount:%s:%s" .Release.Namespace (include "claviger.serviceAccountName" .) }}
{{- end }}

{{- define "claviger.selectorLabels" -}}
app.kubernetes.io/name: {{ include "claviger.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "claviger.labels" -}}
{{- with .Values.commonLabels }}
{{- toYaml . }}
{{ end }}
{{- include "claviger.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: claviger
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "claviger.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* Labels as a flag takes them. */}}
{{- define "claviger.clusterLabels" -}}
{{- $pairs := list }}
{{- range $key, $value := .Values.clusterLabels }}
{{- $pairs = append $pairs (printf "%s=%s" $key $value) }}
{{- end }}
{{- join "," $pairs }}
{{- end }}

{{- define "claviger.distributionPolicyName" -}}
{{- default (include "claviger.fullname" .) .Values.distributionPolicy.name }}
{{- end }}

{{- define "claviger.distributionPolicyFrom" -}}
{{- default (list .Release.Namespace) .Values.distributionPolicy.fromNamespaces | toYaml }}
{{- end }}
