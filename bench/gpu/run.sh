#!/usr/bin/env bash
# All that a machine with a GPU can say of this bundle, or the parts that are
# named: ./run.sh [smoke] [check] [layers] [sanitize] [race] [options of peers.py]
#
#   smoke     the binding of the driver: results, errors, launch times, a fault
#   check     every kernel against float64
#   layers    layers of a spec, from the command line, against float64
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

# layers runs the starter's spec, for more tokens than it has, on the kernels of
# both targets: the way that a user's layer goes.
layers() {
	part layers bash -c 'set -eu
		work=$(mktemp -d); trap "rm -rf $work" EXIT
		./sparsegen device
		./sparsegen init "$work/ffn" >/dev/null
		sed -i "s/1\.\.128/1..8192/" "$work/ffn/model.sg"
		for target in sm_90a sm_80; do for dtype in bf16 f16; do for rows in 1 13 300 8192; do
			echo "ptx:$target $dtype $rows rows"
			./sparsegen run "$work/ffn" --target ptx:$target --dtype $dtype --random $rows --check
		done; done; done
		./sparsegen bench "$work/ffn" --target ptx:sm_90a --dtype bf16 --batch 1,64,4096'
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
	smoke | check | layers | sanitize | race) parts+=("$1") ;;
	*) echo "no part $1: smoke, check, layers, sanitize or race" >&2; exit 2 ;;
	esac
	shift
done
options=("$@")
[ ${#parts[@]} -gt 0 ] || parts=(smoke check layers sanitize race)
for p in "${parts[@]}"; do $p; done
if [ ${#failed[@]} -gt 0 ]; then
	echo "=== failed: ${failed[*]}"
	exit 1
fi
echo "=== done; see $OUT/"
