# An SGLang serving image: target `gpu` on the official image, target `cpu` with the same
# SGLang and what a CPU needs of it. Arguments of both:
#
#   SGLANG_VERSION  the version to serve; `cpu` installs the locked one with its hashes
#   MODEL           folder of the build context to bake in (the packaged tiny model)
#   PYTHON_IMAGE    a Debian image with Python 3.11 or 3.12, on which everything is prepared
#   REVISION, SOURCE, CREATED  of the image's labels
#
# of `cpu` alone:
#
#   TORCH_INDEX     package index with CPU builds of torch, which halves the image
#
# and of `gpu` alone:
#
#   SGLANG_IMAGE    the official image of SGLANG_VERSION
#
# Base images are named here and nowhere else; `make pins` adds their digests, or newer ones.
# Either image serves on start. Another model: mount its folder at /model, or set MODEL_PATH.
# There is no HEALTHCHECK: SGLang's /health answers 200 with a stopped detokenizer, so
# readiness and health are asked from outside, by sglang-ci.
#
# What is copied into an image was laid out under /layer before (requirements/layer.sh), and
# nothing runs in its own stages: so layers are the same whenever and wherever they are built
# (docs/reproducible.md).

ARG SGLANG_VERSION=0.5.23
ARG PYTHON_IMAGE=python:3.11-slim
ARG SGLANG_IMAGE=lmsysorg/sglang:v${SGLANG_VERSION}
# The time of every file in our layers: hatchling's own for wheels, 2020-02-02.
ARG LAYER_EPOCH=1580601600

FROM ${PYTHON_IMAGE} AS builder
ARG LAYER_EPOCH
ENV SOURCE_DATE_EPOCH=${LAYER_EPOCH}
WORKDIR /build
COPY requirements/layer.sh requirements/account.sh requirements/

FROM builder AS uv
# The certificates of the machine that builds are the ones to trust here too.
ENV UV_NATIVE_TLS=1 UV_LINK_MODE=copy
COPY requirements/install.sh requirements/uv.txt requirements/
RUN --mount=type=cache,target=/root/.cache requirements/install.sh uv

FROM uv AS environment
COPY requirements/image.sh requirements/compile.py requirements/shrink.py \
    requirements/server.txt requirements/cpu-overrides.txt requirements/
ARG SGLANG_VERSION
ARG TORCH_INDEX=
RUN --mount=type=cache,target=/root/.cache \
    requirements/image.sh /opt/sglang && requirements/layer.sh /opt/sglang

FROM uv AS project
COPY requirements/build.txt requirements/
COPY pyproject.toml README.md launch.sh ./
COPY ci ci
# With SOURCE_DATE_EPOCH set, `.pyc` files hold a hash of their source instead of its time.
RUN --mount=type=cache,target=/root/.cache \
    .tools/bin/uv build --wheel --python python3 --out-dir dist \
        --build-constraints requirements/build.txt --require-hashes && \
    python3 -m zipfile --extract dist/*.whl /opt/sglang-ci && \
    chmod 755 /opt/sglang-ci/ci/launch.sh && rm /opt/sglang-ci/ci/health/agent.py && \
    python3 -m compileall -q /opt/sglang-ci && \
    requirements/layer.sh /opt/sglang-ci

FROM builder AS launcher
COPY launch.sh /usr/local/bin/launch.sh
RUN chmod 755 /usr/local/bin/launch.sh && requirements/layer.sh /usr/local/bin/launch.sh

FROM builder AS model
ARG MODEL=ci/platform/tiny
COPY ${MODEL} /model
RUN chmod -R u=rwX,go=rX /model && requirements/layer.sh /model

FROM builder AS account
RUN requirements/account.sh

FROM ${SGLANG_IMAGE} AS gpu-account
ARG LAYER_EPOCH
ENV SOURCE_DATE_EPOCH=${LAYER_EPOCH}
COPY --from=builder /build /build
RUN /build/requirements/account.sh

FROM ${PYTHON_IMAGE} AS prober
# What sglang-ci needs to look at a server; with another lock it handles releases or draws requests.
ARG LOCK=requirements.lock
COPY ${LOCK} /opt/requirements.lock
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m pip install --quiet --require-hashes --no-deps --requirement /opt/requirements.lock

FROM ${PYTHON_IMAGE} AS cpu
COPY --from=account /layer/ /
COPY --from=environment /layer/ /
# Apart from the environment, whose layer thus stays as it is when this project changes.
COPY --from=project /layer/ /
COPY --from=launcher /layer/ /
COPY --from=model /layer/ /
USER 10001
ARG SGLANG_VERSION
# Some sampling parameters call torch.compile, which without a C++ compiler ends the server.
ENV TORCH_COMPILE_DISABLE=1
ENV PATH=/opt/sglang/bin:${PATH} PYTHONPATH=/opt/sglang-ci HF_HOME=/home/sglang/.cache/huggingface \
    HOST=0.0.0.0 PORT=30000 DEVICE=cpu MODEL_PATH=/model EXPECTED_SGLANG_VERSION=${SGLANG_VERSION}
EXPOSE 30000
ENTRYPOINT ["/usr/local/bin/launch.sh"]
ARG PYTHON_IMAGE
ARG REVISION= SOURCE= CREATED=
LABEL org.opencontainers.image.title="SGLang on a CPU" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${SGLANG_VERSION}" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.created="${CREATED}"

FROM ${SGLANG_IMAGE} AS gpu
COPY --from=gpu-account /layer/ /
COPY --from=project /layer/ /
COPY --from=launcher /layer/ /
COPY --from=model /layer/ /
USER 10001
WORKDIR /home/sglang
ARG SGLANG_VERSION
ENV PYTHONPATH=/opt/sglang-ci HF_HOME=/home/sglang/.cache/huggingface \
    HOST=0.0.0.0 PORT=30000 DEVICE=cuda MODEL_PATH=/model EXPECTED_SGLANG_VERSION=${SGLANG_VERSION}
EXPOSE 30000
ENTRYPOINT ["/usr/local/bin/launch.sh"]
ARG SGLANG_IMAGE
ARG REVISION= SOURCE= CREATED=
LABEL org.opencontainers.image.title="SGLang on NVIDIA GPUs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${SGLANG_VERSION}" \
      org.opencontainers.image.base.name="${SGLANG_IMAGE}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.created="${CREATED}"
