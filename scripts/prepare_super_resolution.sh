#!/bin/sh
# Prepare and check the training and test sets of super-resolution:
#     scripts/prepare_super_resolution.sh DOWNLOADS [options of prepare, such as --scales 4]
# DOWNLOADS holds DIV2K_train_HR (and DIV2K_train_LR_bicubic), and the test sets in a folder named benchmark. The
# results go to datasets/. Start it again after an interruption: what is finished is not made again.
set -eu
[ $# -ge 1 ] && [ -d "$1" ] || { sed -n '2,5s/^# //p' "$0" >&2; exit 2; }
downloads=$(cd "$1" && pwd)
shift
cd "$(dirname "$0")/.."

"${PYTHON:-python}" -m deeprftv2_arch.prepare div2k --source "$downloads" --out datasets/DIV2K "$@"
"${PYTHON:-python}" -m deeprftv2_arch.check div2k --root datasets/DIV2K
"${PYTHON:-python}" -m deeprftv2_arch.prepare srbench --source "$downloads/benchmark" --out datasets/SR "$@"
"${PYTHON:-python}" -m deeprftv2_arch.check srbench --root datasets/SR
