#!/bin/sh
# Lay out a layer of the image, in its Dockerfile only:
#
#     SOURCE_DATE_EPOCH=... requirements/layer.sh PATH...
#
# puts each PATH, and the folders on the way to it, under /layer, from where
# `COPY --from=... /layer/ /` takes them. All get one time: so the layer's digest depends on
# nothing but what the files hold, and a layer that didn't change isn't sent again.
set -eu
mkdir -p /layer
cd /
for path in "$@"; do
    cp --archive --link --parents "${path#/}" /layer
done
find /layer -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
