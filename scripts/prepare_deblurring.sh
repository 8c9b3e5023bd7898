#!/bin/sh
# Prepare and check every deblurring set that is among the downloads:
#     scripts/prepare_deblurring.sh DOWNLOADS [options of prepare, such as --lmdb]
# DOWNLOADS holds the unpacked sets under the names on the left; those that are not there are passed over, and said.
# The results go to datasets/. Start it again after an interruption: what is finished is not made again.
set -eu
[ $# -ge 1 ] && [ -d "$1" ] || { sed -n '2,5s/^# //p' "$0" >&2; exit 2; }
downloads=$(cd "$1" && pwd)
shift
cd "$(dirname "$0")/.."

prepare() {  # prepare DOWNLOAD NAME FOLDER [options]
	source=$downloads/$1 name=$2 out=datasets/$3
	shift 3
	if [ ! -d "$source" ]; then
		echo "$name: no $source, passed over"
		return
	fi
	"${PYTHON:-python}" -m deeprftv2_arch prepare "$name" --source "$source" --out "$out" "$@"
	"${PYTHON:-python}" -m deeprftv2_arch check "$name" --root "$out"
}

prepare GOPRO_Large gopro GoPro "$@"
prepare HIDE_dataset hide HIDE "$@"
prepare RealBlur realblur_r RealBlur_R "$@"
prepare RealBlur realblur_j RealBlur_J "$@"
prepare REDS reds REDS "$@"
prepare dd_dp_dataset_canon dpdd DPDD "$@"
