#!/bin/sh
# benchmarks/gpu.py on a machine that has torch, but no network and nothing else of what is needed.
#
#     sh benchmarks/gpu_bundle.sh collect FOLDER       where there is a network, with the same system and Python
#     sh benchmarks/gpu_bundle.sh run FOLDER [...]     there, in a copy of this checkout; the rest goes to gpu.py
#
# FOLDER gets the wheels of all but torch, which is never replaced.
set -eu

ROOT=$(cd "$(dirname "$0")/.." && pwd)
PYTHON=${PYTHON:-python3}

if [ $# -lt 2 ]; then
	sed -n 's/^# \{0,1\}//p' "$0" >&2
	exit 2
fi
task=$1 folder=$2
shift 2

case $task in
collect)
	mkdir -p "$folder"
	# BasicSR is built from source, which imports torch; what it requires would bring torch along.
	"$PYTHON" -m pip wheel --constraint "$ROOT/constraints.txt" --no-build-isolation --no-deps -w "$folder" basicsr
	"$PYTHON" -m pip wheel --constraint "$ROOT/constraints.txt" -w "$folder" \
		addict future jinja2 lmdb numba numpy opencv-python pillow pydantic pyyaml requests safetensors scikit-image \
		scipy tifffile tqdm yapf
	du -sh "$folder"
	;;
run)
	"$PYTHON" -m pip install --quiet --no-index --no-deps --upgrade --target "$folder/site" "$folder"/*.whl
	PYTHONPATH="$ROOT:$folder/site" exec "$PYTHON" "$ROOT/benchmarks/gpu.py" "$@"
	;;
*)
	echo "$0: collect or run, not $task" >&2
	exit 2
	;;
esac
