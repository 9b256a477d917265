{{/* Parts of pods that the Deployment and the compile Job share. */}}

{{- define "mixer.labels" -}}
app.kubernetes.io/name: mixer
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "mixer.image" -}}
image: {{ .Values.image.repository }}:{{ .Values.image.tag | default (print .Chart.AppVersion (get (dict "cpu" "" "gpu" "-cuda" "tpu" "-tpu") .Values.accelerator.kind)) }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end }}

{{- define "mixer.podSecurity" -}}
serviceAccountName: {{ .Release.Name }}
automountServiceAccountToken: false
# Links would set MIXER_PORT to "tcp://…", which is a setting of the service.
enableServiceLinks: false
# preStop 5 s, drain delay 5 s, then twice at most the drain timeout of 30 s.
terminationGracePeriodSeconds: 75
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "mixer.placement" -}}
{{- $selector := .Values.nodeSelector }}
{{- if eq .Values.accelerator.kind "tpu" }}
{{- $selector = merge (dict "cloud.google.com/gke-tpu-accelerator" .Values.accelerator.tpuType "cloud.google.com/gke-tpu-topology" .Values.accelerator.tpuTopology) $selector }}
{{- end }}
{{- with $selector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with include "mixer.device" . }}
tolerations:
  - key: {{ . }}
    operator: Exists
    effect: NoSchedule
{{- end }}
{{- end }}

{{- define "mixer.device" -}}
{{- get (dict "cpu" "" "gpu" "nvidia.com/gpu" "tpu" "google.com/tpu") .Values.accelerator.kind }}
{{- end }}

{{- define "mixer.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: ["ALL"]
{{- end }}

{{- define "mixer.fetch" -}}
- name: fetch-models
  {{- include "mixer.image" . | nindent 2 }}
  command: ["mixer", "store", "fetch"]
  args:
    {{- toYaml .Values.models | nindent 4 }}
    - --root={{ .Values.store.root }}
    - --to=/models
  envFrom:
    - secretRef:
        name: {{ .Values.store.credentialsSecret }}
        optional: true
  resources:
    requests: &fetch
      cpu: "1"
      memory: 512Mi
      ephemeral-storage: 1Gi
    limits: *fetch
  {{- include "mixer.containerSecurity" . | nindent 2 }}
  volumeMounts:
    - name: models
      mountPath: /models
    - name: scratch
      mountPath: /tmp
{{- end }}

{{- define "mixer.commonEnv" -}}
- name: MIXER_HOST
  value: 0.0.0.0
- name: MIXER_PORT
  value: "8000"
- name: MIXER_ADMIN_HOST
  value: 0.0.0.0
- name: MIXER_ADMIN_PORT
  value: "9000"
- name: MIXER_MODELS
  value: {{ join "," .Values.models | quote }}
- name: MIXER_CACHE_DIR
  value: /tmp/mixer
{{- if .Values.store.root }}
- name: MIXER_STORE
  value: /models
- name: MIXER_STORE_POLL_MS # the copy never moves: a rollout brings new versions
  value: "0"
{{- end }}
{{- if .Values.compileCache.enabled }}
- name: MIXER_COMPILE_CACHE_DIR
  value: /compile-cache
{{- end }}
{{- if eq .Values.accelerator.kind "gpu" }}
- name: JAX_PLATFORMS # a server without its GPU must fail, not crawl on the CPU
  value: cuda
- name: XLA_CLIENT_MEM_FRACTION # the rest is for CUDA's own contexts and libraries
  value: {{ .Values.accelerator.memoryFraction | quote }}
{{- else if eq .Values.accelerator.kind "tpu" }}
- name: JAX_PLATFORMS # a server without its TPU must fail, not crawl on the CPU
  value: tpu
{{- end }}
{{- if not (or (eq .Values.accelerator.kind "cpu") (hasKey .Values.settings "MIXER_RUNTIME")) }}
- name: MIXER_RUNTIME # the only one that can use it: auto would find another for the CPU
  value: xla
{{- end }}
{{- range $name, $value := .Values.settings }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}

{{- define "mixer.resources" -}}
resources:
  requests:
    cpu: {{ .Values.cpu | quote }}
    memory: {{ .Values.memory }}
    ephemeral-storage: 1Gi
  limits:
    cpu: {{ .Values.cpu | quote }}
    memory: {{ .Values.memory }}
    ephemeral-storage: 1Gi
    {{- with include "mixer.device" . }}
    {{ . }}: "1" # one process, one accelerator
    {{- end }}
{{- end }}

{{- define "mixer.volumes" -}}
- name: scratch
  emptyDir:
    sizeLimit: 512Mi
{{- if .Values.store.root }}
- name: models
  emptyDir:
    sizeLimit: {{ .Values.store.volumeSize }}
{{- end }}
{{- end }}
