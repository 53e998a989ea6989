# The webhook receiver alone: its own package and the six that it imports, nothing of the bridge.
# From the top folder: docker build -f ops/docker/receiver.Dockerfile -t whatsapp-bridge-receiver .
FROM docker.io/library/python:3.13-slim-bookworm AS base

FROM base AS build
WORKDIR /src
RUN python -m venv --without-pip /opt/venv
COPY ops/docker/receiver.lock ./
RUN pip --python /opt/venv/bin/python install --no-cache-dir --only-binary :all: --require-hashes -r receiver.lock
COPY receiver /opt/app/receiver
RUN /opt/venv/bin/python -m compileall -q /opt/app

FROM base
LABEL org.opencontainers.image.title="whatsapp-bridge-receiver" \
      org.opencontainers.image.description="Verifies, de-duplicates, stores and shows the bridge's webhooks" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10002 receiver \
 && useradd --uid 10002 --gid receiver --home-dir /nonexistent --no-create-home --shell /usr/sbin/nologin receiver
COPY --chmod=0755 ops/docker/probe.py /usr/local/bin/probe
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/app /opt/app
WORKDIR /opt/app
# the base comes without compiled modules of the standard library, and nothing can be written later
RUN /opt/venv/bin/python -c "import receiver.app, receiver.cli, receiver.host"
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    RECEIVER_HOST=0.0.0.0 \
    PYTHONPATH=/handlers
USER 10002:10002
EXPOSE 5555
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 CMD ["probe", "http://127.0.0.1:5555/readyz"]
ENTRYPOINT ["python", "-m", "receiver"]
