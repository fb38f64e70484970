# An SGLang serving image: target `gpu` on the official image, target `cpu` with the same
# SGLang and what a CPU needs of it. Arguments of both:
#
#   SGLANG_VERSION  the version to serve; `cpu` installs the locked one with its hashes
#   MODEL           folder of the build context to bake in (the packaged tiny model)
#   REVISION, SOURCE, CREATED  of the image's labels
#
# and of `cpu` alone:
#
#   PYTHON_IMAGE    a Debian image with Python 3.11 or 3.12
#   TORCH_INDEX     package index with CPU builds of torch, which halves the image
#
# Either serves on start. Another model: mount its folder at /model, or set MODEL_PATH.
# There is no HEALTHCHECK: SGLang's /health answers 200 with a stopped detokenizer, so
# readiness and health are asked from outside, by sglang-ci.

ARG SGLANG_VERSION=0.5.23
ARG PYTHON_IMAGE=python:3.11-slim

FROM ${PYTHON_IMAGE} AS builder
# The certificates of the machine that builds are the ones to trust here too.
ENV UV_NATIVE_TLS=1 UV_LINK_MODE=copy
WORKDIR /build
COPY requirements requirements
RUN --mount=type=cache,target=/root/.cache requirements/install.sh uv

FROM builder AS environment
ARG SGLANG_VERSION
ARG TORCH_INDEX=
RUN --mount=type=cache,target=/root/.cache requirements/image.sh /opt/sglang

FROM builder AS project
COPY pyproject.toml README.md launch.sh ./
COPY ci ci
RUN --mount=type=cache,target=/root/.cache .tools/bin/uv pip install --python python3 --no-deps \
        --build-constraints requirements/build.txt --compile-bytecode --target /opt/sglang-ci .

FROM ${PYTHON_IMAGE} AS cpu
RUN useradd --uid 10001 --create-home sglang
COPY --from=environment /opt/sglang /opt/sglang
# Apart from the environment, whose layer thus stays as it is when this project changes.
COPY --from=project /opt/sglang-ci /opt/sglang-ci
COPY --chmod=755 launch.sh /usr/local/bin/launch.sh
ARG MODEL=ci/platform/tiny
COPY ${MODEL} /model
USER 10001
RUN mkdir -p /home/sglang/.cache/huggingface
ARG SGLANG_VERSION
# Some sampling parameters call torch.compile, which without a C++ compiler ends the server.
ENV TORCH_COMPILE_DISABLE=1
ENV PATH=/opt/sglang/bin:${PATH} PYTHONPATH=/opt/sglang-ci HF_HOME=/home/sglang/.cache/huggingface \
    HOST=0.0.0.0 PORT=30000 DEVICE=cpu MODEL_PATH=/model EXPECTED_SGLANG_VERSION=${SGLANG_VERSION}
EXPOSE 30000
ENTRYPOINT ["/usr/local/bin/launch.sh"]
ARG REVISION= SOURCE= CREATED=
LABEL org.opencontainers.image.title="SGLang on a CPU" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${SGLANG_VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.created="${CREATED}"

FROM lmsysorg/sglang:v${SGLANG_VERSION} AS gpu
RUN useradd --uid 10001 --create-home sglang
COPY --chmod=755 launch.sh /usr/local/bin/launch.sh
ARG MODEL=ci/platform/tiny
COPY ${MODEL} /model
USER 10001
RUN mkdir -p /home/sglang/.cache/huggingface
WORKDIR /home/sglang
ARG SGLANG_VERSION
ENV HF_HOME=/home/sglang/.cache/huggingface \
    HOST=0.0.0.0 PORT=30000 DEVICE=cuda MODEL_PATH=/model EXPECTED_SGLANG_VERSION=${SGLANG_VERSION}
EXPOSE 30000
ENTRYPOINT ["/usr/local/bin/launch.sh"]
ARG REVISION= SOURCE= CREATED=
LABEL org.opencontainers.image.title="SGLang on NVIDIA GPUs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${SGLANG_VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.created="${CREATED}"
