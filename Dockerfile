# Two stages: wheels are built once, the image that serves has no compiler and no embedded servers.
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY requirements/prod.lock requirements/build.lock requirements/
RUN python -m venv /opt/hub && /opt/hub/bin/pip install --no-cache-dir --require-hashes -r requirements/prod.lock
COPY pyproject.toml README.md LICENSE ./
COPY hub hub
COPY api api
COPY migrations migrations
RUN python -m venv /opt/build \
 && /opt/build/bin/pip install --no-cache-dir --require-hashes -r requirements/build.lock \
 && /opt/build/bin/python -m pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /opt/hub/bin/pip install --no-cache-dir --no-deps /wheels/*.whl

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin hub
COPY --from=build /opt/hub /opt/hub
ENV PATH=/opt/hub/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    HUB_HOST=0.0.0.0 HUB_PORT=8000 HUB_EMBEDDED=off HUB_DATA_DIR=/tmp/hub
USER hub
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
ENTRYPOINT ["hub"]
CMD ["serve"]
