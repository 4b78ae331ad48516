#!/usr/bin/env bash
# All that a machine with a GPU can say of this bundle, or the parts that are
# named: ./run.sh [smoke] [check] [sanitize] [race] [options of peers.py]
#
#   smoke     the binding of the driver: results, errors, launch times, a fault
#   check     every kernel against float64
#   sanitize  the small checks again under compute-sanitizer, where there is one
#   race      against torch and cuSPARSELt, where there is a torch with CUDA
#
# What they print goes to the folder $OUT (out/ beside this file) as well, with
# the figures of the race as JSON. The exit status is 1 if any part failed.
set -uo pipefail
cd "$(dirname "$0")"
OUT=${OUT:-out}
mkdir -p "$OUT" || exit
failed=()

part() {
	local name=$1
	shift
	echo "=== $name: $*"
	"$@" 2>&1 | tee "$OUT/$name.txt" || failed+=("$name")
}

smoke() {
	# The driver's own cache would hide what compiling costs.
	part smoke env CUDA_CACHE_DISABLE=1 ./smoke
}

check() {
	part check ./gpu check
}

sanitize() {
	local tool
	tool=$(PATH="$PATH:${CUDA_HOME:-/usr/local/cuda}/bin" command -v compute-sanitizer) ||
		{ echo "=== skip sanitize: no compute-sanitizer (it comes with the CUDA toolkit)"; return; }
	part sanitize "$tool" --report-api-errors no --error-exitcode 1 ./gpu check -small
}

race() {
	python3 -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null ||
		{ echo "=== skip race: python3 has no torch with CUDA"; return; }
	part race python3 peers.py --gpu ./gpu --json "$OUT/race.json" "${options[@]}"
}

parts=()
while [ $# -gt 0 ] && [[ $1 != -* ]]; do
	case $1 in
	smoke | check | sanitize | race) parts+=("$1") ;;
	*) echo "no part $1: smoke, check, sanitize or race" >&2; exit 2 ;;
	esac
	shift
done
options=("$@")
[ ${#parts[@]} -gt 0 ] || parts=(smoke check sanitize race)
for p in "${parts[@]}"; do $p; done
if [ ${#failed[@]} -gt 0 ]; then
	echo "=== failed: ${failed[*]}"
	exit 1
fi
echo "=== done; see $OUT/"
