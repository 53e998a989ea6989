# The bridge, as `bridge serve` runs it: no compiler, no embedded PostgreSQL, nothing to write but /data and /tmp.
# From the top folder: docker build -f ops/docker/bridge.Dockerfile -t whatsapp-bridge .
# Debian and not Alpine: the engine's library is built for glibc only.
FROM docker.io/library/python:3.13-slim-bookworm AS base

# In a stage and a layer of their own: a change of our code leaves them as they are. None is built from source.
FROM base AS packages
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends binutils >/dev/null
RUN python -m venv --without-pip /opt/venv
COPY requirements-runtime.lock /src/
RUN pip --python /opt/venv/bin/python install --no-cache-dir --no-compile --only-binary :all: --require-hashes \
    -r /src/requirements-runtime.lock
COPY ops/docker/slim.py /src/
RUN python /src/slim.py /opt/venv/lib/python3.13/site-packages
# Found by a line in a file, as PYTHONPATH would not be: what decodes strangers' media runs isolated from the environment.
RUN echo /opt/app >/opt/venv/lib/python3.13/site-packages/app.pth

FROM packages AS build
WORKDIR /src
COPY ops/docker/build.lock ./
RUN pip install --no-cache-dir --only-binary :all: --require-hashes -r build.lock
COPY pyproject.toml README.md LICENSE ./
COPY supervisor supervisor
COPY bridge bridge
COPY receiver receiver
RUN pip wheel --quiet --no-deps --no-build-isolation --no-index --wheel-dir /wheels . \
 && pip --python /opt/venv/bin/python install --no-deps --no-index --no-compile --target /opt/app /wheels/*.whl \
 && python -m compileall -q --invalidation-mode unchecked-hash /opt/app

FROM base
LABEL org.opencontainers.image.title="whatsapp-bridge" \
      org.opencontainers.image.description="One HTTP API in front of many WhatsApp numbers" \
      org.opencontainers.image.licenses="Apache-2.0"
# A volume that is empty takes over the owner of the folder it is mounted on.
RUN groupadd --gid 10001 bridge \
 && useradd --uid 10001 --gid bridge --home-dir /data --no-create-home --shell /usr/sbin/nologin bridge \
 && install --directory --owner bridge --group bridge --mode 0700 /data
COPY --chmod=0755 ops/docker/probe.py /usr/local/bin/probe
COPY --from=packages /opt/venv /opt/venv
COPY --from=build /opt/app /opt/app
# The base comes without compiled modules of the standard library, and nothing can be written later: those that we use
# are compiled here, or every process would compile them anew as it starts (0.4 s of CPU for the bridge).
RUN /opt/venv/bin/python -c "import bridge.cli, bridge.serve, bridge.app, bridge.backup.command, \
bridge.engine.host.serve, bridge.media.decode.tasks, bridge.sandbox.cli"
ENV PATH=/opt/app/bin:/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    BRIDGE_HOST=0.0.0.0 \
    BRIDGE_DATA_DIR=/data \
    BRIDGE_LOG_FORMAT=json
WORKDIR /data
USER 10001:10001
EXPOSE 4444
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 CMD ["probe", "http://127.0.0.1:4444/readyz"]
ENTRYPOINT ["bridge"]
CMD ["serve"]
