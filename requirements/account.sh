#!/bin/sh
# Make the user as which servers run, as a layer of the image, in its Dockerfile only:
#
#     SOURCE_DATE_EPOCH=... requirements/account.sh
#
# `useradd` takes the day that it writes into /etc/shadow from SOURCE_DATE_EPOCH.
set -eu
useradd --uid 10001 --create-home sglang
install -d -o sglang -g sglang /home/sglang/.cache /home/sglang/.cache/huggingface
"$(dirname "$0")/layer.sh" /etc/passwd /etc/group /etc/shadow /etc/gshadow /home/sglang
