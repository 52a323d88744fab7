# Two stages: the first has compilers' company and builds, the second has only what runs.
#
#   docker build -t connect-mail-relay .
#   docker run -d --name relay -p 25:2525 -v relay:/var/lib/relay -v ./relay.toml:/etc/relay/relay.toml:ro \
#       -e AWS_REGION=eu-central-1 connect-mail-relay
#
# Inside, listen on a port from 1024 up (bind = ["0.0.0.0:2525", "[::]:2525"]) and publish it as 25: the user is not
# root. The volume must be a local disk: a 250 rests on what it has synced.
#
# The base is pinned by digest, once for both stages: move both together.

FROM python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b AS build
WORKDIR /src
COPY requirements.lock requirements-run.lock requirements-otel.lock ./
# OTEL=1 brings the extra [otel].
ARG OTEL=
RUN python -m venv /build \
 && /build/bin/pip install --no-cache-dir --require-hashes -r requirements.lock \
 && python -m venv /opt/relay \
 && /opt/relay/bin/pip install --no-cache-dir --require-hashes -r requirements-run.lock \
        ${OTEL:+-r requirements-otel.lock}
COPY pyproject.toml README.md LICENSE ./
COPY relay relay
RUN /build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /dist . \
 && /opt/relay/bin/pip install --no-cache-dir --no-deps --no-index /dist/*.whl

FROM python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b
COPY --from=build /opt/relay /opt/relay
RUN useradd --system --uid 10001 --home-dir /var/lib/relay --shell /usr/sbin/nologin relay \
 && install -d -o relay -g relay -m 0700 /var/lib/relay
ENV PATH=/opt/relay/bin:$PATH PYTHONUNBUFFERED=1
USER 10001
VOLUME /var/lib/relay
EXPOSE 2525
# /livez of [admin]; where that is bound elsewhere, replace the check.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8026/livez', timeout=3)"]
# SIGTERM stops in the direction of flow; give it more than server.drain_seconds: docker stop --time 100.
STOPSIGNAL SIGTERM
ENTRYPOINT ["relay"]
CMD ["serve"]
