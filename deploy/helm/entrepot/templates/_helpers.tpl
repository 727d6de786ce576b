{{- define "entrepot.name" -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) (contains .Chart.Name .Release.Name) | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "entrepot.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "entrepot.labels" -}}
{{ include "entrepot.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- /* "yes" where any number of pods may share catalogue and blobs. */ -}}
{{- define "entrepot.shared" -}}
{{- if and (regexMatch "^postgres(ql)?://" .Values.catalog) (hasPrefix "s3://" .Values.storage) }}yes{{ end }}
{{- end }}

{{- define "entrepot.check" -}}
{{- if and (gt (int .Values.replicas) 1) (not (include "entrepot.shared" .)) }}
{{- fail (printf "replicas is %d: more than one needs a catalogue and blobs that pods share; set catalog: postgresql://USER@HOST:PORT/DATABASE (it is %q) and storage: s3://BUCKET/PREFIX (it is %q), or replicas: 1" (int .Values.replicas) .Values.catalog .Values.storage) }}
{{- end }}
{{- if regexMatch "^[a-z]+://[^@/]*:[^@/]*@" .Values.catalog }}
{{- fail "catalog holds a password: put it into a Secret, under the key catalog-password, and name that in existingSecret" }}
{{- end }}
{{- if and .Values.worker.enabled (not .Values.worker.prefectApiUrl) }}
{{- fail "worker.enabled needs worker.prefectApiUrl, such as http://prefect-server:4200/api" }}
{{- end }}
{{- end }}

{{- define "entrepot.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "entrepot.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "entrepot.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "entrepot.publicUrl" -}}
{{- if .Values.publicUrl }}{{ .Values.publicUrl }}
{{- else if .Values.ingress.enabled }}{{ if .Values.ingress.tls.existingSecret }}https{{ else }}http{{ end }}://{{ .Values.ingress.host }}
{{- end }}
{{- end }}

{{- /* One variable from the user's Secret: (list context variable key). */ -}}
{{- define "entrepot.secretVariable" -}}
- name: {{ index . 1 }}
  valueFrom:
    secretKeyRef:
      name: {{ (index . 0).Values.existingSecret }}
      key: {{ index . 2 }}
      optional: true
{{- end }}

{{- define "entrepot.environment" -}}
- name: ENTREPOT_HOME
  value: /var/lib/entrepot/home
- name: ENTREPOT_LISTEN
  value: 0.0.0.0:5080
{{- if .Values.tls.existingSecret }}
- name: ENTREPOT_TLS_CERT
  value: /etc/entrepot/tls/tls.crt
- name: ENTREPOT_TLS_KEY
  value: /etc/entrepot/tls/tls.key
{{- else }}
- name: ENTREPOT_ALLOW_PLAIN_HTTP
  value: "true"
{{- end }}
{{- with .Values.catalog }}
- name: ENTREPOT_CATALOG
  value: {{ . | quote }}
{{- end }}
{{- with .Values.storage }}
- name: ENTREPOT_STORAGE
  value: {{ . | quote }}
- name: ENTREPOT_STORAGE_REDIRECT
  value: {{ $.Values.s3.redirect | quote }}
- name: AWS_DEFAULT_REGION
  value: {{ $.Values.s3.region | quote }}
{{- with $.Values.s3.endpoint }}
- name: ENTREPOT_S3_ENDPOINT
  value: {{ . | quote }}
{{- end }}
{{- end }}
{{- with include "entrepot.publicUrl" . }}
- name: ENTREPOT_PUBLIC_URL
  value: {{ . | quote }}
{{- end }}
{{- with .Values.trustedProxies }}
- name: ENTREPOT_TRUSTED_PROXIES
  value: {{ join "," . | quote }}
{{- end }}
{{- with .Values.worker.prefectApiUrl }}
- name: ENTREPOT_PREFECT_API_URL
  value: {{ . | quote }}
{{- end }}
{{- if .Values.existingSecret }}
{{ include "entrepot.secretVariable" (list . "ENTREPOT_CATALOG_PASSWORD" "catalog-password") }}
{{ include "entrepot.secretVariable" (list . "AWS_ACCESS_KEY_ID" "aws-access-key-id") }}
{{ include "entrepot.secretVariable" (list . "AWS_SECRET_ACCESS_KEY" "aws-secret-access-key") }}
{{ include "entrepot.secretVariable" (list . "PREFECT_API_AUTH_STRING" "prefect-login") }}
{{- end }}
{{- range $name, $value := .Values.settings }}
- name: {{ $name }}
  value: {{ $value | toString | quote }}
{{- end }}
{{- end }}

{{- define "entrepot.mounts" -}}
- name: state
  mountPath: /var/lib/entrepot
- name: tmp
  mountPath: /tmp
{{- if .Values.tls.existingSecret }}
- name: tls
  mountPath: /etc/entrepot/tls
  readOnly: true
{{- end }}
{{- end }}

{{- define "entrepot.volumes" -}}
- name: state
{{- if include "entrepot.shared" . }}
  emptyDir: {}
{{- else }}
  persistentVolumeClaim:
    claimName: {{ .Values.persistence.existingClaim | default (include "entrepot.name" .) }}
{{- end }}
- name: tmp
  emptyDir: {}
{{- with .Values.tls.existingSecret }}
- name: tls
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- end }}

{{- define "entrepot.worker" -}}
- name: worker
  image: {{ include "entrepot.image" . }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  args: [worker]
  env:
    {{- include "entrepot.environment" . | nindent 4 }}
  securityContext:
    {{- include "entrepot.containerSecurity" . | nindent 4 }}
  resources:
    {{- toYaml .Values.worker.resources | nindent 4 }}
  volumeMounts:
    {{- include "entrepot.mounts" . | nindent 4 }}
{{- end }}

{{- /* What all pods have besides their containers. */ -}}
{{- define "entrepot.pod" -}}
serviceAccountName: {{ include "entrepot.name" . }}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: 30
securityContext:
  {{- include "entrepot.podSecurity" . | nindent 2 }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
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
volumes:
  {{- include "entrepot.volumes" . | nindent 2 }}
{{- end }}
