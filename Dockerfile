# Tag and digest of each base belong together; Dependabot moves both. Rust is the release that the wheels are built by, on the
# same Debian as the rest, so that its wheel fits the libc there.
FROM python:3.13.15-slim-trixie@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b AS python
FROM rust:1.95.0-slim-trixie@sha256:e14e87345b4d5964ddcc3491d27ee046a0f23820f340c3c1e24da6880141f7c0 AS rust

FROM python AS tools
WORKDIR /build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
COPY requirements/build.lock requirements/sbom.lock requirements/
RUN python -m venv /opt/build && /opt/build/bin/pip install --require-hashes -r requirements/build.lock \
    && python -m venv /opt/sbom && /opt/sbom/bin/pip install --require-hashes -r requirements/sbom.lock

FROM rust AS native
WORKDIR /build
# A program in itself: the wheel is for Python's stable ABI, so no Python is needed to build it.
COPY --from=tools /opt/build/bin/maturin /usr/local/bin/
COPY native native
RUN maturin build --release --manifest-path native/Cargo.toml --out dist

FROM tools AS build
# Libraries first: they change less often than the code, and their layer is the large one.
COPY requirements/runtime.lock requirements/
RUN python -m venv --without-pip /opt/streamproc \
    && /opt/build/bin/pip --python /opt/streamproc/bin/python install --require-hashes -r requirements/runtime.lock

COPY pyproject.toml LICENSE ./
COPY schemas schemas
COPY streamproc streamproc
COPY --from=native /build/dist dist
RUN /opt/build/bin/python -m hatchling build --target wheel --directory dist \
    && /opt/build/bin/pip --python /opt/streamproc/bin/python install --no-deps --no-index dist/*.whl
# What is in there, as CycloneDX has it; and of the crates, as the wheels that have some bring it.
RUN mkdir sbom \
    && /opt/sbom/bin/cyclonedx-py environment --pyproject pyproject.toml --mc-type application --spec-version 1.6 \
    --output-reproducible --output-file sbom/streamproc.cdx.json /opt/streamproc/bin/python \
    && cp /opt/streamproc/lib/python3*/site-packages/*.dist-info/sboms/*.json sbom/

FROM python
# The base's pip can install nothing that belongs here.
RUN rm -rf /usr/local/lib/python3*/site-packages/pip* /usr/local/lib/python3*/ensurepip /usr/local/bin/pip* \
    && groupadd --gid 10001 streamproc \
    && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin streamproc \
    && install --directory --owner 10001 --group 10001 --mode 700 /var/lib/streamproc
COPY --from=build /build/sbom /usr/share/streamproc/sbom
COPY --from=build /opt/streamproc /opt/streamproc
ENV PATH=/opt/streamproc/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    STREAMPROC_HTTP__HOST=0.0.0.0
USER 10001:10001
EXPOSE 8080 8081
# A restoring service is alive; /readyz, which says more, is for the orchestrator. Of the console: `… healthcheck console`.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-m", "streamproc.healthcheck"]
ENTRYPOINT ["streamproc"]
CMD ["run"]

# Last, as they change with each build: docker build --build-arg REVISION="$(git rev-parse HEAD)" …
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="streamproc" \
      org.opencontainers.image.description="Run status events in; latest states, transitions, metrics and alerts out" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED" \
      org.opencontainers.image.source="$SOURCE"
