# The service's image (the last stage, hence the default) and the trainer's (--target trainer), for
# the accelerator in ACCELERATOR: cpu, cuda or tpu; and what puts load on a service from many pods
# (--target loadtest). docs/container.md tells how to build and run them.

# Another place to pull from, or a digest, goes in here from outside.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS base
# The slim image ships its standard library without bytecode, and a read-only root never keeps any:
# without this every start would compile it again. -f, for bases whose bytecode goes by time.
RUN python -m compileall -q -f -j 0 --invalidation-mode unchecked-hash \
      "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
 && groupadd --gid 65532 mixer \
 && useradd --uid 65532 --gid 65532 --key UID_MAX=65532 --no-log-init --no-create-home \
      --home-dir /tmp --shell /usr/sbin/nologin mixer \
 && install --directory --owner 65532 --group 65532 /var/cache/mixer
# The folder of the packages comes from a build stage. HOME is the one folder that is writable
# everywhere: numbered users of other platforms (OpenShift) have no entry in /etc/passwd.
ENV PATH=/opt/mixer/bin:${PATH} \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    MIXER_CACHE_DIR=/var/cache/mixer
WORKDIR /

FROM ${BASE} AS packages
ARG ACCELERATOR=cpu
WORKDIR /build
RUN python -m venv --without-pip /opt/mixer
COPY locks/service.txt locks/${ACCELERATOR}.txt locks/
# The secret pip_conf is optional: a pip.conf with the address of a private index.
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    python -m pip --python /opt/mixer/bin/python install --no-cache-dir --no-compile \
      --require-hashes --only-binary :all: -r locks/service.txt -r "locks/${ACCELERATOR}.txt"

# setuptools is there to build the project without fetching anything, and goes when that is done.
# Bytecode that is never compared with its source's time is the same in every build.
FROM packages AS service-packages
COPY pyproject.toml README.md ./
COPY model_store model_store
COPY service service
RUN python -m pip --python /opt/mixer/bin/python install --no-cache-dir --no-compile \
      --no-deps --no-build-isolation --no-index . \
 && python -m pip --python /opt/mixer/bin/python uninstall --yes setuptools \
 && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/mixer/lib

FROM packages AS trainer-packages
COPY locks/trainer.txt locks/
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    python -m pip --python /opt/mixer/bin/python install --no-cache-dir --no-compile \
      --require-hashes --only-binary :all: -r locks/trainer.txt
COPY pyproject.toml README.md ./
COPY model_store model_store
COPY service service
COPY trainer trainer
RUN python -m pip --python /opt/mixer/bin/python install --no-cache-dir --no-compile \
      --no-deps --no-build-isolation --no-index . ./trainer \
 && python -m pip --python /opt/mixer/bin/python uninstall --yes setuptools \
 && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/mixer/lib

FROM ${BASE} AS loadtest-packages
WORKDIR /build
RUN python -m venv --without-pip /opt/mixer
COPY locks/locust.txt locks/
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    python -m pip --python /opt/mixer/bin/python install --no-cache-dir --no-compile \
      --require-hashes --only-binary :all: -r locks/locust.txt \
 && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/mixer/lib

FROM base AS loadtest
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="mixer-loadtest" \
      org.opencontainers.image.description="Locust users of mixer-serve, and the verdict on their answers" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=loadtest-packages /opt/mixer /opt/mixer
COPY loadtest /loadtest/loadtest
ENV PYTHONPATH=/loadtest
WORKDIR /loadtest
USER 65532:65532
# A load test ends; it is not probed.
HEALTHCHECK NONE
ENTRYPOINT ["locust"]
CMD ["--locustfile", "loadtest/locustfile.py", "--help"]

FROM base AS trainer
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="mixer-trainer" \
      org.opencontainers.image.description="The offline trainer of MLP-Mixer models for mixer-serve" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=trainer-packages /opt/mixer /opt/mixer
USER 65532:65532
# A run ends; it is not probed.
HEALTHCHECK NONE
ENTRYPOINT ["python", "-m"]
CMD ["trainer.train", "--help"]

FROM base AS service
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="mixer-serve" \
      org.opencontainers.image.description="An image-inference microservice for MLP-Mixer models" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=service-packages /opt/mixer /opt/mixer
ENV MIXER_HOST=0.0.0.0 \
    MIXER_PORT=8000
EXPOSE 8000
VOLUME ["/var/cache/mixer"]
USER 65532:65532
# http.client, because it takes no proxy from the environment.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
  CMD ["python", "-c", "import http.client, os; probe = http.client.HTTPConnection('127.0.0.1', int(os.environ['MIXER_PORT']), timeout=4); probe.request('GET', '/livez'); raise SystemExit(probe.getresponse().status != 200)"]
ENTRYPOINT ["mixer"]
CMD ["serve"]
