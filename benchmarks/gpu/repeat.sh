#!/usr/bin/env bash
# Repeat what docs/gpu.md tells, on a machine with Docker, NVIDIA's container toolkit and `dagger`:
#
#     benchmarks/gpu/repeat.sh [FOLDER [STEP ...]]
#
# First the module's own way (`dagger call ci --gpu`), then the steps of `python -m benchmarks.gpu`
# in SGLang's official image. Reports and figures go to FOLDER (gpu); about 40 minutes with all
# steps, and 40 GB of disk. SGLANG_VERSION is another version than the Dockerfile's.
set -euo pipefail
cd "$(dirname "$0")/../.."

version=${SGLANG_VERSION:-$(sed -n 's/^ARG SGLANG_VERSION=//p' Dockerfile | head -n 1)}
image=lmsysorg/sglang:v$version
out=$(realpath -m "${1:-gpu}")
steps=("${@:2}")
((${#steps[@]})) || steps=(boot health bench gate starts shared)
mkdir -p "$out"

docker run --rm --gpus all "$image" nvidia-smi # or says what is missing

export _EXPERIMENTAL_DAGGER_GPU_SUPPORT=true
dagger call preflight --gpu
dagger call report --gpu export --path="$out/dagger"

# The image's own Python has SGLang. Of this project it gets what is not there yet.
docker run --rm --gpus all --shm-size 32g --volume "$PWD:/project:ro" --volume "$out:/out" "$image" bash -c '
    cp -r /project /work && cd /work && python3 -m pip install --quiet --editable . &&
        python3 -m benchmarks.gpu --out /out/steps --shape 3b --weights --steps "$0"' "$(IFS=,; echo "${steps[*]}")"
