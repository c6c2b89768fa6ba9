# syntax=docker/dockerfile:1
# playlake, every verb of it: `docker run --rm playlake --help`.
# The dashboard needs packages that nothing else does: --build-arg "EXTRAS=--extra dashboard".
# A release pins the base by its digest, too: --build-arg BASE=python:3.12-slim-bookworm@sha256:…
ARG BASE=python:3.12-slim-bookworm

FROM ${BASE} AS build
ARG EXTRAS
ENV UV_PROJECT_ENVIRONMENT=/opt/playlake \
    UV_PYTHON_DOWNLOADS=never \
    UV_NATIVE_TLS=true \
    UV_LINK_MODE=copy \
    UV_COMPILE_BYTECODE=1
# a C compiler for the compiled parts (hatch_build.py), in this stage alone
RUN apt-get update \
 && apt-get install --yes --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/* \
 && pip install --no-cache-dir uv==0.13.8
WORKDIR /src
# The packages of the lock first: a changed line of ours does not fetch them again.
COPY pyproject.toml uv.lock README.md LICENSE ./
RUN --mount=type=cache,target=/root/.cache/uv uv sync --frozen --no-dev ${EXTRAS} --no-install-project
COPY . .
RUN --mount=type=cache,target=/root/.cache/uv uv sync --frozen --no-dev ${EXTRAS} --no-editable
# What no verb loads: headers, tests, pyarrow's own S3 and Flight, and botocore's descriptions of the four
# hundred services that are none of S3, SQS and Kinesis.
RUN cd /opt/playlake/lib/python3*/site-packages \
 && rm -rf pyarrow/include pyarrow/tests pyarrow/src numpy/tests \
      pyarrow/*_flight*.so* pyarrow/libarrow_s3.so* pyarrow/_s3fs*.so \
 && find botocore/data -mindepth 1 -maxdepth 1 -type d \
      ! -name s3 ! -name sqs ! -name kinesis ! -name sts ! -name sso ! -name sso-oidc ! -name signin -exec rm -rf {} + \
 && find . -name '*.pxd' -delete

# A Kinesis API for the compose profile `kinesis`: for trying, in memory, and no part of playlake's image.
FROM ${BASE} AS kinesis
RUN pip install --no-cache-dir 'moto[server]==5.2.5'
USER 10001:10001
ENTRYPOINT ["moto_server", "--host", "0.0.0.0", "--port", "4567"]

FROM ${BASE} AS playlake
LABEL org.opencontainers.image.title=playlake \
      org.opencontainers.image.licenses=Apache-2.0
# A new volume mounted at /lake belongs to playlake, as this folder does.
RUN groupadd --system --gid 10001 playlake \
 && useradd --system --uid 10001 --gid playlake --home-dir /tmp --shell /usr/sbin/nologin playlake \
 && install --directory --owner playlake --group playlake /lake
COPY --from=build /opt/playlake /opt/playlake
# Nothing is written outside of /tmp and the lake: the root file system may be read-only.
ENV PATH=/opt/playlake/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /tmp
ENTRYPOINT ["playlake"]
CMD ["--help"]

# Gold on Spark, for the compose profile `spark`; built with --build-arg "EXTRAS=--extra spark".
FROM playlake AS java
USER root
RUN mkdir -p /usr/share/man/man1 \
 && apt-get update \
 && apt-get install --yes --no-install-recommends openjdk-17-jre-headless procps \
 && rm -rf /var/lib/apt/lists/*

# The jars that playlake would have Spark fetch through Maven (compaction/spark_session.py), so that no container has to.
FROM java AS jars
# Java trusts whom everything else here trusts, a company's own authority included.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends p11-kit p11-kit-modules \
 && trust extract --format=java-cacerts --filter=ca-anchors --purpose=server-auth /tmp/trusted
RUN JAVA_TOOL_OPTIONS=-Djavax.net.ssl.trustStore=/tmp/trusted python -c "\
from pyspark import SparkConf; \
from pyspark.java_gateway import launch_gateway; \
from compaction.spark_session import packages; \
settings = {**packages(is_s3=True), 'spark.jars.ivy': '/tmp/ivy'}; \
launch_gateway(SparkConf(loadDefaults=False).setAll(list(settings.items()))).shutdown()"

FROM java AS spark
COPY --from=jars /tmp/ivy/jars/ /tmp/jars/
RUN mv /tmp/jars/*.jar /opt/playlake/lib/python3*/site-packages/pyspark/jars/
USER 10001:10001

# What a build without --target makes.
FROM playlake
