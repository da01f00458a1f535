{{- define "vvwatch.name" -}}
{{- if contains "vvwatch" .Release.Name }}{{ .Release.Name | trunc 52 | trimSuffix "-" }}{{ else }}{{ printf "%s-vvwatch" (.Release.Name | trunc 44 | trimSuffix "-") }}{{ end }}
{{- end }}

{{- define "vvwatch.selector" -}}
app.kubernetes.io/name: vvwatch
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "vvwatch.labels" -}}
{{ include "vvwatch.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "vvwatch.secret" -}}
{{- if .Values.secrets.files }}{{ include "vvwatch.name" . }}{{ else }}{{ .Values.secrets.name }}{{ end }}
{{- end }}

{{- define "vvwatch.account" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "vvwatch.name" .) }}{{ else }}{{ .Values.serviceAccount.name | default "default" }}{{ end }}
{{- end }}

{{- define "vvwatch.publicUrl" -}}
{{- .Values.publicUrl | default (printf "http://%s:%v" (include "vvwatch.name" .) .Values.service.port) }}
{{- end }}

{{- define "vvwatch.config" -}}
listen = "0.0.0.0:8787"
public_url = {{ include "vvwatch.publicUrl" . | quote }}
state_dir = "/var/lib/vvwatch"
drain_seconds = {{ .Values.drainSeconds }}

{{ .Values.config }}
{{- end }}

{{- /* What would lose data or never start is refused before it is installed. */ -}}
{{- define "vvwatch.refusals" -}}
{{- if and (eq .Values.database "sqlite") (gt (int .Values.replicas) 1) }}
{{- fail "replicas: a database on SQLite has one node. Set database to postgresql, or replicas to 1." }}
{{- end }}
{{- if and .Values.secrets.name .Values.secrets.files }}
{{- fail "secrets: set name or files, not both." }}
{{- end }}
{{- if and .Values.secrets.daemon (not (include "vvwatch.secret" .)) }}
{{- fail "secrets.daemon: there is no Secret with these entries. Set secrets.name or secrets.files." }}
{{- end }}
{{- if eq .Values.database "postgresql" }}
{{- range list "database-url" "secret-key" "admin-key" }}
{{- if not (has . $.Values.secrets.daemon) }}
{{- fail (printf "secrets.daemon: nodes on PostgreSQL need %s." .) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "vvwatch.pod" -}}
metadata:
  labels:
    {{- include "vvwatch.labels" . | nindent 4 }}
  annotations:
    checksum/config: {{ include "vvwatch.config" . | sha256sum }}
    {{- with .Values.secrets.files }}
    checksum/secret: {{ toJson . | sha256sum }}
    {{- end }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  # A token is not needed; links would set variables that begin with VVWATCH_.
  automountServiceAccountToken: false
  enableServiceLinks: false
  serviceAccountName: {{ include "vvwatch.account" . }}
  # More than preStop and drain_seconds together.
  terminationGracePeriodSeconds: {{ add .Values.drainSeconds 20 }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: { type: RuntimeDefault }
  containers:
    - name: vvwatch
      image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: ["run"]
      {{- if or .Values.secrets.daemon .Values.env }}
      env:
        {{- range .Values.secrets.daemon }}
        - { name: VVWATCH_{{ . | upper | replace "-" "_" }}_FILE, value: /run/secrets/vvwatch/{{ . }} }
        {{- end }}
        {{- with .Values.env }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- end }}
      ports:
        - { name: http, containerPort: 8787 }
      startupProbe:
        httpGet: { path: /healthz, port: http }
        periodSeconds: 2
        failureThreshold: {{ .Values.probes.startupFailures }}
      livenessProbe:
        httpGet: { path: /healthz, port: http }
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: { path: /readyz, port: http }
        periodSeconds: 5
        timeoutSeconds: 5
      lifecycle:
        # Until nobody sends it requests any more.
        preStop: { sleep: { seconds: 5 } }
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: { drop: [ALL] }
      volumeMounts:
        - { name: config, mountPath: /etc/vvwatch, readOnly: true }
        - { name: state, mountPath: /var/lib/vvwatch }
        {{- if include "vvwatch.secret" . }}
        - { name: secrets, mountPath: /run/secrets/vvwatch, readOnly: true }
        {{- end }}
        {{- with .Values.volumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: config
      configMap: { name: {{ include "vvwatch.name" . }} }
    {{- if include "vvwatch.secret" . }}
    - name: secrets
      secret: { secretName: {{ include "vvwatch.secret" . }}, defaultMode: 0440 }
    {{- end }}
    {{- if eq .Values.database "postgresql" }}
    - name: state
      emptyDir: { sizeLimit: {{ .Values.state.size }} }
    {{- end }}
    {{- with .Values.volumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
