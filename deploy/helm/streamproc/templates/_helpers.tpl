{{- define "streamproc.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "streamproc.fullname" -}}
{{- $name := include "streamproc.name" . }}
{{- $joined := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) }}
{{- /* Short enough for what Kubernetes makes of it: pods with a number, revisions with a hash. */}}
{{- default $joined .Values.fullnameOverride | trunc 44 | trimSuffix "-" }}
{{- end }}

{{- define "streamproc.serviceAccountName" -}}
{{- .Values.serviceAccount.create | ternary (include "streamproc.fullname" .) "default" | default .Values.serviceAccount.name }}
{{- end }}

{{- define "streamproc.image" -}}
{{- $image := .Values.image }}
{{- if $image.digest }}{{ $image.repository }}@{{ $image.digest }}{{ else }}{{ $image.repository }}:{{ default .Chart.AppVersion $image.tag }}{{ end }}
{{- end }}

{{- /* Called with (list root component), as the next two. */}}
{{- define "streamproc.selector" -}}
{{- $root := first . -}}
app.kubernetes.io/name: {{ include "streamproc.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- /* Behind these: more annotations, more labels. */}}
{{- define "streamproc.metadata" -}}
{{- $root := first . }}
{{- $more := slice . 2 }}
{{- $annotations := merge (dict) $root.Values.commonAnnotations }}
{{- if $more }}{{ $annotations = merge $annotations (first $more) }}{{ end }}
{{- $labels := merge (dict) $root.Values.commonLabels }}
{{- if gt (len $more) 1 }}{{ $labels = merge $labels (last $more) }}{{ end -}}
labels:
  {{- include "streamproc.selector" . | nindent 2 }}
  app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
  app.kubernetes.io/managed-by: {{ $root.Release.Service }}
  helm.sh/chart: {{ $root.Chart.Name }}-{{ $root.Chart.Version }}
  {{- with $labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "streamproc.podMetadata" -}}
{{- $root := first . -}}
labels:
  {{- include "streamproc.selector" . | nindent 2 }}
  app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
  {{- with merge (dict) $root.Values.podLabels $root.Values.commonLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- $annotations := merge (dict) $root.Values.podAnnotations $root.Values.commonAnnotations }}
{{- if or $root.Values.config.toml $annotations }}
annotations:
  {{- if $root.Values.config.toml }}
  # A changed file restarts the pods; variables are in the pod itself.
  checksum/config: {{ toJson $root.Values.config | sha256sum }}
  {{- end }}
  {{- with $annotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end }}

{{- /* What the pods of all components have in common. */}}
{{- define "streamproc.podSpec" -}}
{{- $root := . -}}
automountServiceAccountToken: false
# Else a Service named streamproc makes variables STREAMPROC_…, which are no settings: nothing would start.
enableServiceLinks: false
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  {{- with $root.Values.uid }}
  runAsUser: {{ int64 . }}
  runAsGroup: {{ int64 . }}
  fsGroup: {{ int64 . }}
  fsGroupChangePolicy: OnRootMismatch
  {{- end }}
  seccompProfile:
    type: RuntimeDefault
{{- with $root.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $root.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "streamproc.container" -}}
image: {{ include "streamproc.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  privileged: false
  readOnlyRootFilesystem: true
  runAsNonRoot: true
  {{- with .Values.uid }}
  runAsUser: {{ int64 . }}
  runAsGroup: {{ int64 . }}
  {{- end }}
  capabilities:
    drop: [ALL]
{{- end }}

{{- define "streamproc.arguments" -}}
{{- $root := first . }}
{{- $arguments := rest . }}
{{- if $root.Values.config.toml }}{{ $arguments = concat $arguments (list "--config" "/etc/streamproc/config/streamproc.toml") }}{{ end }}
{{- toJson $arguments }}
{{- end }}

{{- /* Called with (list root component settings…); those that come first go over those behind them. Alerts are pushed by the service
alone: nobody else is given what that takes. */}}
{{- define "streamproc.environment" -}}
{{- $root := first . }}
{{- $without := eq (index . 1) "processor" | ternary "^$" "^STREAMPROC_(ALERTMANAGER|WEBHOOK)__" }}
{{- $variables := dict }}
{{- range $name, $secret := $root.Values.secretSettings }}
  {{- $_ := set $variables $name (dict "name" $name "valueFrom" (dict "secretKeyRef" $secret)) }}
{{- end }}
{{- range slice . 2 }}
  {{- range $name, $value := . }}
    {{- if hasKey $root.Values.secretSettings $name }}
      {{- fail (printf "%s is in settings and in secretSettings" $name) }}
    {{- end }}
    {{- if not (hasKey $variables $name) }}
      {{- $_ := set $variables $name (dict "name" $name "value" (kindIs "string" $value | ternary $value (toJson $value))) }}
    {{- end }}
  {{- end }}
{{- end }}
{{- range $name, $variable := $variables }}
  {{- if not (or (eq "null" (default "" $variable.value)) (regexMatch $without $name)) }}
- {{ toYaml $variable | indent 2 | trim }}
  {{- end }}
{{- end }}
{{- with $root.Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* Called with (list root name-of-the-ConfigMap). */}}
{{- define "streamproc.volumes" -}}
{{- $root := first . -}}
- name: tmp
  emptyDir:
    sizeLimit: 256Mi
{{- if $root.Values.config.toml }}
- name: config
  configMap:
    name: {{ last . }}
{{- end }}
{{- range $index, $secret := $root.Values.secretMounts }}
- name: secret-{{ $index }}
  secret:
    secretName: {{ $secret.name }}
    defaultMode: 0440
{{- end }}
{{- with $root.Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "streamproc.volumeMounts" -}}
- name: tmp
  mountPath: /tmp
{{- if .Values.config.toml }}
- name: config
  mountPath: /etc/streamproc/config
  readOnly: true
{{- end }}
{{- range $index, $secret := .Values.secretMounts }}
- name: secret-{{ $index }}
  mountPath: {{ $secret.mountPath }}
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "streamproc.configMap" -}}
streamproc.toml: |
  {{- .Values.config.toml | trim | nindent 2 }}
{{- with .Values.config.files }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "streamproc.probe" -}}
{{- $values := index . 0 -}}
httpGet:
  path: {{ index . 1 }}
  port: http
  {{- /* The console speaks no TLS. */}}
  {{- if and (eq (index . 2) "processor") (index $values.settings "STREAMPROC_HTTP__TLS_CERT_FILE") }}
  scheme: HTTPS
  {{- end }}
periodSeconds: {{ $values.probes.periodSeconds }}
timeoutSeconds: {{ $values.probes.timeoutSeconds }}
{{- end }}

{{- /* 640 bytes for each run: measured, see DESIGN.md; in steps of 64 MiB. */}}
{{- define "streamproc.memory" -}}
{{- $state := .Values.state }}
{{- $bytes := add (mul (int64 $state.expectedRuns) 640) (int64 $state.memoryBytes) }}
{{- $mebibytes := add (div $bytes 1048576) (int64 $state.otherMemoryMiB) }}
{{- mul (div (add $mebibytes 63) 64) 64 }}Mi
{{- end }}

{{- define "streamproc.resources" -}}
{{- if .Values.resources }}
{{- toYaml .Values.resources }}
{{- else }}
{{- $disk := printf "%dGi" (add 1 (.Values.state.persistence.enabled | ternary 0 (int64 .Values.state.volumeGiB))) -}}
requests:
  cpu: {{ .Values.cpuRequest }}
  memory: {{ include "streamproc.memory" . }}
  ephemeral-storage: {{ $disk }}
limits:
  memory: {{ include "streamproc.memory" . }}
  ephemeral-storage: {{ $disk }}
{{- end }}
{{- end }}

{{- define "streamproc.topologySpread" -}}
{{- $root := first . }}
{{- $selector := include "streamproc.selector" . }}
{{- with $root.Values.topologySpread -}}
topologySpreadConstraints:
  {{- range . }}
  - {{ toYaml . | indent 4 | trim }}
    labelSelector:
      matchLabels:
        {{- $selector | nindent 8 }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "streamproc.maxReplicas" -}}
{{- default .Values.partitions .Values.keda.maxReplicas }}
{{- end }}

{{- /* Called with the values of networkPolicy. */}}
{{- define "streamproc.egress" -}}
egress:
  - ports:
      - port: 53
        protocol: UDP
      - port: 53
        protocol: TCP
    {{- with .dnsTo }}
    to:
      {{- toYaml . | nindent 6 }}
    {{- end }}
  {{- range list .kafka .registry }}
  {{- if .ports }}
  - ports:
      {{- range .ports }}
      - port: {{ . }}
        protocol: TCP
      {{- end }}
    {{- with .to }}
    to:
      {{- toYaml . | nindent 6 }}
    {{- end }}
  {{- end }}
  {{- end }}
  {{- with .extraEgress }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- /* What no schema can say. */}}
{{- define "streamproc.check" -}}
{{- $values := .Values }}
{{- if and (not $values.keda.enabled) (gt (int $values.replicas) (int $values.partitions)) }}
{{- fail (printf "replicas is %d, but the input has %d partitions: more instances have nothing to do" (int $values.replicas) (int $values.partitions)) }}
{{- end }}
{{- if and $values.keda.enabled (gt (int (include "streamproc.maxReplicas" .)) (int $values.partitions)) }}
{{- fail (printf "keda.maxReplicas is %d, but the input has %d partitions: more instances have nothing to do" (int $values.keda.maxReplicas) (int $values.partitions)) }}
{{- end }}
{{- if and $values.keda.enabled (gt (int $values.keda.minReplicas) (int (include "streamproc.maxReplicas" .))) }}
{{- fail "keda.minReplicas is above keda.maxReplicas" }}
{{- end }}
{{- if and $values.config.files (not $values.config.toml) }}
{{- fail "config.files are beside config.toml, which is empty" }}
{{- end }}
{{- $proxied := or (hasKey $values.settings "STREAMPROC_CONSOLE__PROXY_HEADER") (hasKey $values.console.settings "STREAMPROC_CONSOLE__PROXY_HEADER") }}
{{- if and $values.console.enabled (not $values.console.tokensSecret.name) (not $proxied) }}
{{- fail "the console would be open to everybody: set console.tokensSecret.name, or STREAMPROC_CONSOLE__PROXY_HEADER and STREAMPROC_CONSOLE__PROXY_NETWORKS in console.settings" }}
{{- end }}
{{- end }}
