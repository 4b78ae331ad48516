#!/bin/bash
# fuzz-collect.sh DIR OUT: copies what fuzz.sh has found in DIR so far to OUT: a
# summary, the end of each log, and new crashers as OUT/NAME/testdata/fuzz/….
# It exits with 1 if a target failed, 3 if none did but some still run.
set -eu
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dir=$(cd "$1" && pwd)
mkdir -p "$2"
out=$(cd "$2" && pwd)
failed=0 running=0
: >"$out/summary"
while read -r name; do
	status=runs
	if [ -f "$dir/$name.status" ]; then status=$(cat "$dir/$name.status"); fi
	case $status in
	runs) running=1 ;;
	0) ;;
	*) failed=1 ;;
	esac
	tail -n 60 "$dir/$name.log" >"$out/$name.log" 2>/dev/null || true
	last=$(grep '^fuzz: elapsed' "$out/$name.log" | tail -n 1 || true)
	echo "$name status=$status $last" >>"$out/summary"
	(cd "$dir/$name" && find testdata -path '*/fuzz/*' -type f 2>/dev/null) | while read -r file; do
		if [ ! -e "$here/${name%.*}/$file" ]; then
			mkdir -p "$out/$name/$(dirname "$file")"
			cp "$dir/$name/$file" "$out/$name/$file"
			echo "$name crasher $file" >>"$out/summary"
		fi
	done
done <"$dir/started"
cat "$out/summary"
if [ $failed = 1 ]; then exit 1; fi
if [ $running = 1 ]; then exit 3; fi
