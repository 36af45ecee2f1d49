# syntax=docker/dockerfile:1
# Debian's own Rust is too old. The same Debian as below, so that the wheel fits its libc.
FROM rust:1.95-slim-bookworm AS native
WORKDIR /build
RUN apt-get update && apt-get install --yes --no-install-recommends python3-venv && rm -rf /var/lib/apt/lists/*
COPY requirements/build.lock requirements/
RUN python3 -m venv /opt/build && /opt/build/bin/pip install --no-cache-dir --require-hashes -r requirements/build.lock
COPY native native
RUN /opt/build/bin/maturin build --release --manifest-path native/Cargo.toml --interpreter /opt/build/bin/python --out dist

FROM python:3.12-slim-bookworm AS build
WORKDIR /build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1

# Libraries first: they change less often than the code, and their layer is the large one.
COPY requirements/build.lock requirements/runtime.lock requirements/
RUN python -m venv /opt/build && /opt/build/bin/pip install --require-hashes -r requirements/build.lock \
    && python -m venv /opt/streamproc && /opt/streamproc/bin/pip install --require-hashes -r requirements/runtime.lock

COPY pyproject.toml LICENSE ./
COPY schemas schemas
COPY streamproc streamproc
COPY --from=native /build/dist dist
RUN /opt/build/bin/python -m hatchling build --target wheel --directory dist \
    && /opt/streamproc/bin/pip install --no-deps --no-index dist/*.whl

FROM python:3.12-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home streamproc \
    && install --directory --owner 10001 --mode 700 /var/lib/streamproc
COPY --from=build /opt/streamproc /opt/streamproc
ENV PATH=/opt/streamproc/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    STREAMPROC_HTTP__HOST=0.0.0.0
USER 10001
EXPOSE 8080 8081
# A restoring service is alive; /readyz, which says more, is for the orchestrator.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-c", "\
import os, urllib.request as u; \
u.urlopen(f\"http://127.0.0.1:{os.environ.get('STREAMPROC_HTTP__PORT', '8080')}/livez\", timeout=4)"]
ENTRYPOINT ["streamproc"]
CMD ["run"]
