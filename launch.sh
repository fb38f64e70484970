#!/usr/bin/env bash
# launch.sh: the one way an SGLang server starts, in a container and on a host.
#
#     [SETTING=value ...] launch.sh [flag of sglang serve ...]
#
# Looks for what would stop the server late or without a clear word, says it in one line
# on stderr, and otherwise becomes the server (exec): process id, signals and exit code
# are the server's own. It is `sglang serve`, or where there is none, `python -m
# sglang.launch_server`. A line "launch.sh notes: ..." tells and refuses nothing. Of equal
# flags the last wins: first come the settings', then those of $MODEL_PATH/launch.flags (one
# a line, value after "="), then the caller's.
#
#   MODEL_PATH               folder of the model (the tiny model packaged with sglang-ci)
#   HOST, PORT               where to listen (127.0.0.1, 30000)
#   LOG_LEVEL                debug, info, warning, error or critical (info)
#   LOG_FORMAT               text, or json: one record a line (docs/logs.md) where PYTHON has
#                            sglang-ci (text)
#   DEVICE                   cuda, cpu, or auto: cuda where there is a GPU (auto)
#   START_METHOD             fork: SGLang's processes begin as copies of the first, in half of the
#                            time, on a CPU alone; spawn: each as a new one; auto: fork for the
#                            device cpu (auto)
#   PYTHON                   interpreter that has sglang (python3, else python)
#   EXPECTED_SGLANG_VERSION  refuse to start any other
#   DRAIN_SECONDS            after SIGTERM refuse new work, and give what was accepted so many
#                            seconds before it is aborted; empty: SGLang's own way (20)
#   LOG_FILE                 copy all output there, secrets veiled where PYTHON has sglang-ci,
#                            below a line "launch.sh began on KERNEL", the boot id of the kernel
#                            on which the file is locked (flock) until the server ends, however
#                            it ends. The last line, "launch.sh: server output ended", comes once
#                            the server's children have ended too, unless their container's end
#                            cuts it off.
#
# Exit codes of a refusal; any other code is the server's:
#   64  a setting has a value that isn't allowed
#   65  the model doesn't exist
#   66  the model isn't readable
#   67  the model has no valid config.json
#   68  the port is taken
#   69  the port isn't permitted, or the host isn't an address of this machine
#   70  there is no GPU for the device cuda
#   71  sglang isn't installed
#   72  another version of sglang is installed than is expected
#   73  a cache folder isn't writable
set -euo pipefail

refuse() { # CODE WHAT WHERE REMEDY
    printf 'launch.sh: %s: %s; %s\n' "$2" "${3//$'\n'/ }" "$4" >&2
    exit "$1"
}

read_model_flags() { # FOLDER
    model_flags=()
    [[ ! -r $1/launch.flags ]] ||
        mapfile -t model_flags < <(sed -E 's/^\s+|\s+$//g; /^(#|$)/d' "$1/launch.flags")
}

# SGLang kills its children before it ends, and signals reach whole process groups: what
# copies the output is neither a child (&) nor in the group (set -m). The copy of stderr
# holds the pipe of the other one (3>&1), which thus ends last.
copy_output() { # FLAG ...
    local boot=/proc/sys/kernel/random/boot_id known=("$@")
    { exec 9>>"$LOG_FILE" && flock -w 1 9; } 2>/dev/null ||
        refuse 64 'bad LOG_FILE' "$LOG_FILE" 'name one that can be written and is not in use'
    echo "launch.sh began on $(cat $boot 2>/dev/null)" >"$LOG_FILE"
    known+=("${model_flags[@]}")
    copy() {
        trap '' HUP INT TERM
        "$PYTHON" -m ci.secrets.tee "${known[@]}" "$LOG_FILE" 2>/dev/null ||
            tee -ap "$LOG_FILE"
    }
    exec > >(set -m; { copy; echo 'launch.sh: server output ended' >>"$LOG_FILE"; } <&0 9>&- &)
    exec 2> >(set -m; copy 3>&1 >&2 <&0 9>&- &)
    trap finish_copy EXIT
}

# Of a refusal, which ends a container that this is the first process of, and with it the copying.
finish_copy() {
    local look
    exec >&- 2>&-
    for ((look = 0; look < 200; look++)); do
        [[ $(tail -n 1 "$LOG_FILE") != *': server output ended' ]] || return 0
        sleep 0.05
    done
}

has_gpu() {
    [[ ${CUDA_VISIBLE_DEVICES-all} != @(|-1) ]] &&
        { [[ $(timeout 20 nvidia-smi -L 2>/dev/null) == GPU* ]] || compgen -G '/dev/nvidia[0-9]*'; }
}

HOST=${HOST:-127.0.0.1} PORT=${PORT:-30000} LOG_LEVEL=${LOG_LEVEL:-info} LOG_FORMAT=${LOG_FORMAT:-text}
DEVICE=${DEVICE:-auto} START_METHOD=${START_METHOD:-auto}
DRAIN_SECONDS=${DRAIN_SECONDS-20}
PYTHON=${PYTHON:-$(type -P python3 || type -P python || echo python3)}
export PYTHONSAFEPATH=${PYTHONSAFEPATH-1} # folders named "ci" or "sglang" in $PWD are not ours
read_model_flags "${MODEL_PATH:-}"
[[ -z ${LOG_FILE:-} ]] || copy_output "$@"
[[ $DEVICE == @(auto|cuda|cpu) ]] || refuse 64 'bad DEVICE' "$DEVICE" 'use auto, cuda or cpu'
[[ $LOG_LEVEL == @(debug|info|warning|error|critical) ]] ||
    refuse 64 'bad LOG_LEVEL' "$LOG_LEVEL" 'use debug, info, warning, error or critical'
[[ $LOG_FORMAT == @(text|json) ]] || refuse 64 'bad LOG_FORMAT' "$LOG_FORMAT" 'use text or json'
[[ $START_METHOD == @(auto|fork|spawn) ]] ||
    refuse 64 'bad START_METHOD' "$START_METHOD" 'use auto, fork or spawn'
[[ $DRAIN_SECONDS =~ ^([0-9]{1,5}(\.[0-9]+)?)?$ ]] ||
    refuse 64 'bad DRAIN_SECONDS' "$DRAIN_SECONDS" 'use a number of seconds, or leave it empty'
type -P "$PYTHON" >/dev/null || refuse 71 'no interpreter' "$PYTHON" 'set PYTHON to one with sglang'

MODEL_PATH=${MODEL_PATH:-$(
    "$PYTHON" -c 'from ci.platform import TINY_MODEL; print(TINY_MODEL)' 2>/dev/null
)} || refuse 64 'no MODEL_PATH' "$PYTHON has no packaged model" 'set it to the folder of a model'
gpu=
if [[ $DEVICE != cpu ]] && has_gpu >/dev/null; then gpu=yes; fi
[[ $DEVICE != auto ]] || DEVICE=${gpu:+cuda}

flags=(--model-path "$MODEL_PATH" --host "$HOST" --port "$PORT" --log-level "$LOG_LEVEL"
    --device "${DEVICE:=cpu}")
[[ $START_METHOD != fork || $DEVICE == cpu ]] ||
    refuse 64 'bad START_METHOD' "fork with DEVICE=$DEVICE" 'fork on a CPU alone'
if [[ $DEVICE == cpu ]]; then
    export CUDA_VISIBLE_DEVICES= # where torch sees a GPU, the CPU plugin steps aside
    export TORCH_COMPILE_DISABLE=${TORCH_COMPILE_DISABLE-1} # compiling wants a compiler
    if [[ $START_METHOD != spawn ]]; then # ci/platform/fork.py, for which NumPy may have no threads
        export SGLANG_CI_START_METHOD=fork OPENBLAS_NUM_THREADS=${OPENBLAS_NUM_THREADS-1}
    fi
    flags+=(--attention-backend torch_native --sleep-on-idle
        --max-total-tokens 8192 --max-running-requests 8) # else 60 % of memory is taken
fi
read_model_flags "$MODEL_PATH"
flags+=("${model_flags[@]}" "$@")

if [[ $LOG_FORMAT == json && -z ${SGLANG_LOGGING_CONFIG_PATH:-} ]]; then
    SGLANG_LOGGING_CONFIG_PATH=$(
        "$PYTHON" -c 'from ci.platform.records import CONFIG; print(CONFIG)' 2>/dev/null
    ) || refuse 64 'bad LOG_FORMAT' "json, and $PYTHON has no sglang-ci" 'install it there, or use text'
    for flag in "${flags[@]}"; do
        [[ ${before:-} != --log-level ]] || LOG_LEVEL=$flag
        [[ $flag != --log-level=* ]] || LOG_LEVEL=${flag#*=}
        before=$flag
    done
    export SGLANG_LOGGING_CONFIG_PATH LOG_LEVEL # read by ci/platform/records.py
    export SGLANG_LOG_REQUEST_HEADERS=${SGLANG_LOG_REQUEST_HEADERS:+$SGLANG_LOG_REQUEST_HEADERS,}traceparent
fi
export SGLANG_CI_DRAIN_SECONDS=$DRAIN_SECONDS # read by ci/platform/drain.py, where it is installed
command=$("$PYTHON" - "$gpu" "${flags[@]}" <<'CHECKS'
import argparse, errno, glob, json, os, re, socket, sys, sysconfig
from importlib import util
from pathlib import Path

def refuse(code, what, where, remedy):
    print(" ".join(f"launch.sh: {what}: {where}; {remedy}".split()), file=sys.stderr)
    sys.exit(code)

def holder(port):
    rows = [row.split() for table in glob.glob("/proc/net/tcp*")
            for row in Path(table).read_text().splitlines()]
    sockets = {f"socket:[{row[9]}]" for row in rows if row[1].endswith(f":{port:04X}")}
    for link in glob.iglob("/proc/[0-9]*/fd/*"):
        try:
            if os.readlink(link) in sockets:
                pid = link.split("/")[2]
                words = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
                return f"pid {pid} ({' '.join(words[:3]).strip()})" # the rest may hold a secret
        except OSError:
            continue
    return "a process that this user can't see"

parser = argparse.ArgumentParser("launch.sh", add_help=False, allow_abbrev=False)
parser.add_argument("--model-path", "--model")
for flag in "--host", "--port", "--device":
    parser.add_argument(flag)
given, me = parser.parse_known_args(sys.argv[2:])[0], f"user id {os.getuid()}"
if not re.fullmatch("[1-9][0-9]{0,4}", given.port) or int(given.port) > 65535:
    refuse(64, "bad PORT", given.port, "use a number from 1 to 65535")

sglang, expected = util.find_spec("sglang"), os.environ.get("EXPECTED_SGLANG_VERSION")
if not sglang or not sglang.origin:
    refuse(71, "sglang not installed", sys.executable, "set PYTHON to one that has it")
if expected:
    from importlib.metadata import distributions
    try:
        from packaging.utils import canonicalize_version as plain
    except ImportError:
        plain = str
    found = next((each.version for each in distributions(name="sglang")), "unknown")
    if plain(found) != plain(expected):
        refuse(72, "wrong sglang version", f"{found} in {sys.executable}", f"install {expected}")

model = given.model_path
try:
    os.listdir(model)
    for flags in Path(model).glob("launch.flags"):
        flags.open().close()
    json.loads(Path(model, "config.json").read_bytes())
except (FileNotFoundError, NotADirectoryError) as fault:
    if fault.filename != model:
        refuse(67, "no config.json", model, "set MODEL_PATH to the folder of a whole model")
    hub = re.fullmatch(r"\w[\w.-]*/[\w.-]+", model)
    refuse(65, "no such model folder", model, "set MODEL_PATH to one" if not hub else "fetch it "
           f"first with `sglang-ci fetch {model} --revision REV` and pass the folder it prints")
except ValueError as fault:
    refuse(67, "config.json is not JSON", f"{model} ({fault})", "get the model anew")
except OSError as fault:
    refuse(66, "model not readable", f"{fault.filename} ({fault.strerror})", f"let {me} read it")

cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
for name, default in [("XDG_CACHE_HOME", cache), ("HF_HOME", f"{cache}/huggingface"),
                      ("SGLANG_CACHE_DIR", "~/.cache/sglang")]:
    folder = Path(os.path.expanduser(os.environ.get(name) or default)).absolute()
    stands = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    if not os.access(stands, os.W_OK | os.X_OK):
        refuse(73, "cache not writable", folder, f"let {me} write {stands}, or set {name}")

if given.device == "cuda" and not sys.argv[1]:
    refuse(70, "no GPU", "DEVICE=cuda and none is visible", "give it one, or set DEVICE=cpu")

host, port = given.host, int(given.port)
try:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
except OSError as fault:
    if fault.errno == errno.EADDRINUSE:
        refuse(68, "port taken", f"{host}:{port} by {holder(port)}", "stop it, or set another PORT")
    refuse(69, "can't listen", f"{host}:{port} ({fault.strerror})",
           f"set HOST to an address of this machine and PORT to one that {me} may open")

try:
    from ci.platform.promise import obstacle
    problem = obstacle(os.environ, sys.argv[2:])
except ImportError:
    problem = f"sglang-ci isn't installed in {sys.executable}"
if problem:
    print(f"launch.sh notes: no drain as in docs/drain.md, but SGLang's own end: {problem}",
          file=sys.stderr)
command = Path(sysconfig.get_path("scripts"), "sglang")
if command.is_file() and Path(sglang.origin).with_name("cli").joinpath("serve.py").is_file():
    print(command)
CHECKS
)

export SGLANG_CUDA_COREDUMP_BEFORE_CRASH=${SGLANG_CUDA_COREDUMP_BEFORE_CRASH-0}
export SGLANG_PYSPY_DUMP_BEFORE_CRASH=${SGLANG_PYSPY_DUMP_BEFORE_CRASH-0} # dead child: 1 s, not 66
export HF_HUB_OFFLINE=${HF_HUB_OFFLINE-1} # a model is fetched before it is served
[[ -z $command ]] || exec "$PYTHON" "$command" serve "${flags[@]}"
exec "$PYTHON" -m sglang.launch_server "${flags[@]}"
