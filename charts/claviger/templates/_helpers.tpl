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
- kind: ObjectStorageCredential
  plural: objectstoragecredentials
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

{{/* Where the operator runs. */}}
{{- define "claviger.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride }}
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
{{- printf "system:serviceaccount:%s:%s" (include "claviger.namespace" .) (include "claviger.serviceAccountName" .) }}
{{- end }}

{{- define "claviger.selectorLabels" -}}
app.kubernetes.io/name: {{ include "claviger.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "claviger.labels" -}}
{{- $own := dict "app.kubernetes.io/version" (toString .Chart.AppVersion) "app.kubernetes.io/part-of" "claviger" }}
{{- $_ := set $own "app.kubernetes.io/managed-by" .Release.Service }}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") }}
{{- merge (include "claviger.selectorLabels" . | fromYaml) $own (default dict .Values.commonLabels) | toYaml }}
{{- end }}

{{/*
Labels and annotations of an object, as (list $) or with some of its own, which win, as (list $ labels annotations). A map that
somebody sets to null is empty.
*/}}
{{- define "claviger.metadata" -}}
{{- $ := first . }}
{{- $own := list }}
{{- range concat (rest .) (list dict dict) }}
{{- $own = append $own (default dict .) }}
{{- end -}}
labels:
  {{- merge (deepCopy (index $own 0)) (include "claviger.labels" $ | fromYaml) | toYaml | nindent 2 }}
{{- with merge (deepCopy (index $own 1)) (default dict $.Values.commonAnnotations) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* A first part with a dot or a colon is a registry, as for container engines. */}}
{{- define "claviger.image" -}}
{{- $repository := .Values.image.repository }}
{{- with .Values.global.imageRegistry }}
{{- $repository = printf "%s/%s" . (regexReplaceAll "^(localhost|[^/]*[.:][^/]*)/" $repository "") }}
{{- end }}
{{- if .Values.image.digest }}
{{- printf "%s@%s" $repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* What the operator's Pods and the one of the self-test share. */}}
{{- define "claviger.pod" -}}
enableServiceLinks: false
{{- with concat (default list .Values.global.imagePullSecrets) (default list .Values.imagePullSecrets) }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- if and (eq (default "" .Values.dnsPolicy) "None") (not (dig "nameservers" list (default dict .Values.dnsConfig))) }}
{{- fail "dnsPolicy: None needs dnsConfig.nameservers" }}
{{- end }}
{{- with .Values.dnsPolicy }}
dnsPolicy: {{ . }}
{{- end }}
{{- with .Values.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Where the operator's Pods and the one of the self-test may connect to. */}}
{{- define "claviger.egress" -}}
# DNS
- ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
{{- with .Values.networkPolicy.egress.ports }}
# API servers, including those of members, and registries, whose addresses are not known in advance
- ports:
    {{- range . }}
    - port: {{ . }}
      protocol: TCP
    {{- end }}
{{- end }}
{{- with .Values.networkPolicy.egress.extra }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* How /metrics is scraped, from the values of a monitor. */}}
{{- define "claviger.endpoint" -}}
port: http
path: /metrics
# The label `namespace` of the metrics is that of the credential; the scraper must not replace it with its own.
honorLabels: true
{{- with .interval }}
interval: {{ . }}
{{- end }}
{{- with .scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- with .authorization }}
authorization:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .relabelings }}
relabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
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
{{- default (list (include "claviger.namespace" .)) .Values.distributionPolicy.fromNamespaces | toYaml }}
{{- end }}

{{/* A time such as 1m30s in seconds; of less than a second, nothing. */}}
{{- define "claviger.seconds" -}}
{{- $seconds := 0 }}
{{- range regexFindAll "[0-9]+(ms|s|m|h|d)" . -1 }}
{{- $unit := regexFind "[a-z]+" . }}
{{- $seconds = add $seconds (mul (regexFind "[0-9]+" . | int64) (get (dict "ms" 0 "s" 1 "m" 60 "h" 3600 "d" 86400) $unit)) }}
{{- end }}
{{- $seconds }}
{{- end }}
