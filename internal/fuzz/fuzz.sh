#!/bin/bash
# fuzz.sh DIR [TIME [TARGET...]]: starts all fuzz targets of this bundle, or some,
# side by side for TIME (20m) and returns at once; they go on without the shell
# that started them. Each target works in a folder of its own under DIR. There is
# DIR/NAME.status as soon as it has ended, with its exit status: 0 is clean.
set -eu
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
time=${2:-20m}
shift $(($# < 2 ? $# : 2))
only=" $* "
while read -r package target; do
	name=$package.$target
	if [ "$only" != "  " ] && [[ "$only" != *" $target "* && "$only" != *" $name "* ]]; then continue; fi
	mkdir -p "$out/$name"
	rm -f "$out/$name.status"
	if [ -d "$here/$package/testdata" ]; then cp -r "$here/$package/testdata" "$out/$name"; fi
	mkdir -p "$out/$name/testdata" "$out/$name/corpus" "$out/$name/tmp"
	setsid nohup bash -c '
		cd "$1" && TMPDIR="$1/tmp" nice "$2" -test.run "^\$" -test.fuzz "^$3\$" -test.fuzztime "$4" \
			-test.fuzzcachedir "$1/corpus" -test.fuzzminimizetime 20x -test.parallel 1 -test.timeout 0 >"$1.log" 2>&1 </dev/null
		echo $? >"$1.status.new" && mv "$1.status.new" "$1.status"' \
		fuzz "$out/$name" "$here/$package/fuzz.test" "$target" "$time" </dev/null >/dev/null 2>&1 &
	echo "$name" >>"$out/started.new"
done <"$here/targets"
[ -f "$out/started.new" ] || { echo "no such target; there are:" >&2; cat "$here/targets" >&2; exit 2; }
sort -u "$out/started.new" >"$out/started"
rm "$out/started.new"
echo "$(wc -l <"$out/started") targets run for $time; fuzz-collect.sh $out OUT says how they are"
