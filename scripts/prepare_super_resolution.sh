#!/bin/sh
# Prepare and check the training and test sets of super-resolution:
#     scripts/prepare_super_resolution.sh DOWNLOADS [options of prepare, such as --scales 4]
# DOWNLOADS holds DIV2K_train_HR, Flickr2K_HR, and the test sets in a folder named benchmark. Without Flickr2K, DF2K is
# passed over, and said. Results go to datasets/. Start it again after an interruption: what is finished stays.
set -eu
[ $# -ge 1 ] && [ -d "$1" ] || { sed -n '2,5s/^# //p' "$0" >&2; exit 2; }
downloads=$(cd "$1" && pwd)
shift
cd "$(dirname "$0")/.."

prepare() {  # prepare NAME SOURCE FOLDER [options]
	name=$1 source=$2 out=datasets/$3
	shift 3
	"${PYTHON:-python}" -m deeprftv2_arch prepare "$name" --source "$source" --out "$out" "$@"
	"${PYTHON:-python}" -m deeprftv2_arch check "$name" --root "$out"
}

prepare div2k "$downloads" DIV2K "$@"
if [ -d "$downloads/Flickr2K_HR" ] || [ -d "$downloads/Flickr2K" ]; then
	prepare df2k "$downloads" DF2K "$@"
else
	echo "df2k: no $downloads/Flickr2K_HR, passed over"
fi
prepare srbench "$downloads/benchmark" SR "$@"
