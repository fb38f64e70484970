#!/bin/sh
# Install what `make` needs into this folder's project, and nothing outside of it:
#
#     requirements/install.sh uv|server|dev|haproxy
#
#   uv      .tools/bin/uv, of the version and hashes in uv.txt
#   server  .venv with SGLang and this project (editable), byte-compiled for a server, and the
#           packages of its commands `release`, `deploy` and `fuzz`
#   dev     the same .venv with dev.txt on top; as root Debian's haproxy too, for its tests
#   haproxy Debian's haproxy, where this user may install packages
#
# Needs a python3 of any version. What is installed already is left alone. Packages come
# from where pip's and uv's own configuration and variables say.
set -eu
unset PYTHONDONTWRITEBYTECODE PYTHONHOME PYTHONPATH VIRTUAL_ENV
cd "$(dirname "$0")/.."
tools=.tools uv=.tools/bin/uv python=.venv/bin/python

say() { printf '%s\n' "$*" >&2; }

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

add_debian_venv() {
    command -v apt-get >/dev/null && as_root true 2>/dev/null || return 1
    say 'python3 has neither pip nor venv: installing the package python3-venv'
    as_root apt-get install -qqy python3-venv >&2 ||
        { as_root apt-get update -qq >&2 && as_root apt-get install -qqy python3-venv >&2; }
}

has_haproxy() { PATH=$PATH:/usr/sbin command -v haproxy >/dev/null; }

add_haproxy() {
    has_haproxy && return
    if command -v apt-get >/dev/null && as_root true 2>/dev/null; then
        say 'installing the package haproxy'
        as_root apt-get install -qqy --no-install-recommends haproxy >&2 ||
            { as_root apt-get update -qq >&2 &&
                as_root apt-get install -qqy --no-install-recommends haproxy >&2; }
    fi
    has_haproxy || { say 'install: no haproxy; install the package haproxy'; return 1; }
}

# A virtual environment with a pip, by the first way that this machine's python3 allows.
make_tools() {
    if python3 -m venv --clear "$tools" >/dev/null 2>&1; then
        pip="$tools/bin/python -m pip"
    elif python3 -m pip --version >/dev/null 2>&1 && python3 -m venv --clear --without-pip "$tools"; then
        pip="python3 -m pip --python $tools/bin/python"
    elif add_debian_venv && python3 -m venv --clear "$tools"; then
        pip="$tools/bin/python -m pip"
    else
        say 'install: python3 has neither pip nor venv; install the package python3-venv'
        exit 1
    fi
}

install_uv() {
    wanted=$(sed -n 's/^uv==\([^ ]*\).*/\1/p' requirements/uv.txt)
    case $("$uv" --version 2>/dev/null) in "uv $wanted"*) return ;; esac
    command -v python3 >/dev/null || { say 'install: no python3; install the package python3'; exit 1; }
    make_tools
    $pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/uv.txt
}

# SGLang has wheels for Python 3.11 and 3.12: this machine's own, or one that uv provides.
choose_python() {
    python3 -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' &&
        python3 -c 'import sys; print(sys.executable)' || echo '>=3.11,<3.13'
}

# done_before STAMP FILE...: is STAMP from these very files?
done_before() {
    stamp=$1
    shift
    sum=$(cat "$@" | sha256sum)
    [ -x "$python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$sum" ]
}

install_server() {
    done_before .venv/.server requirements/*.sh requirements/uv.txt requirements/build.txt \
        requirements/server.txt requirements/release.txt requirements/fuzz.txt \
        requirements/compile.py pyproject.toml && return
    "$python" -c '' 2>/dev/null || "$uv" venv --quiet --clear --python "$(choose_python)" .venv
    rm -f .venv/.dev
    "$uv" pip sync --python "$python" --require-hashes \
        requirements/server.txt requirements/release.txt requirements/fuzz.txt
    "$uv" pip install --python "$python" --no-deps --build-constraints requirements/build.txt --editable .
    "$python" requirements/compile.py
    echo "$sum" >.venv/.server
}

install_dev() {
    done_before .venv/.dev requirements/dev.txt .venv/.server && return
    "$uv" pip install --python "$python" --no-deps --require-hashes -r requirements/dev.txt
    echo "$sum" >.venv/.dev
}

# One at a time: a second run waits here and then finds everything done.
exec 9<requirements/install.sh
flock 9
case ${1-} in
    uv) install_uv ;;
    server) install_uv && install_server ;;
    dev)
        install_uv && install_server && install_dev
        [ "$(id -u)" != 0 ] || add_haproxy || say 'install: tests that need haproxy are skipped'
        ;;
    haproxy) add_haproxy ;;
    *) say 'usage: requirements/install.sh uv|server|dev|haproxy'; exit 2 ;;
esac
