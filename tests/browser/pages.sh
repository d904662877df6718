#!/usr/bin/env bash
# Makes a page with each command that has one, and looks at all of them in a browser without a window.
#
# Needs Chromium and Node. axe-core (see axe.mjs) and html-validate, which looks for what is not HTML, are
# fetched from npm; without a network those parts are left out, and said so.
#
#   tests/browser/pages.sh path/to/surgeline [FOLDER FOR PICTURES]
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
binary=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
pictures=$(realpath -m "${2:-$scratch/pictures}")
readonly HTML_VALIDATE=9.7.1 # the last one for Node 20

page() { # page NAME ALLOWED-CODES ARGUMENTS...
    local name=$1 codes=$2 code=0
    shift 2
    (cd "$root" && "$binary" "$@" --quiet --html "$scratch/pages/$name.html") >/dev/null || code=$?
    [[ " $codes " == *" $code "* ]] || { echo "pages: $name ended with $code" >&2; exit 1; }
}

mkdir -p "$scratch/pages"
page run "0 1 3" run support-reply --set scenario.horizon=30m
page run-pool "0 1 3" run self-hosted --set scenario.horizon=30m
page run-unstable "1 3" run self-hosted --set scenario.horizon=30m --set traffic.chat.scale=4x
page what-if "0 1 3" what-if azure-conversation --traffic 5x --no-calibration
page compare 0 compare support-reply --second-policy support-reply.good --set scenario.horizon=30m
page check "1 3" check support-reply --candidate support-reply.bad --set scenario.horizon=10m
page check-same "0 1 3" check support-reply --candidate support-reply.main --set scenario.horizon=5m
page sweep 0 sweep self-hosted --set scenario.horizon=10m --out "$scratch/swept" \
    --vary traffic.chat.scale=1x,2x,3x,4x,5x --vary pools.h100.replicas=1,2
page sweep-morris 0 sweep self-hosted --set scenario.horizon=5m --design morris --points 4 \
    --out "$scratch/effects" --vary traffic.chat.scale=1x,2x --vary pools.h100.replicas=1..3 \
    --vary pools.h100.engine_args.max_num_seqs=64,256
page score 0 calibrate score --points calibrate/data/measured/serving_points.csv
page plan "0 1 3" plan self-hosted --set scenario.horizon=20m

if npm install --silent --no-audit --no-fund --prefix "$scratch/validator" "html-validate@$HTML_VALIDATE" >/dev/null 2>&1; then
    echo '{ "root": true, "extends": ["html-validate:standard"] }' >"$scratch/pages/.htmlvalidate.json"
    cp "$root/src/serve/page/index.html" "$scratch/pages/.serve.html" # the local page, not opened here
    "$scratch/validator/node_modules/.bin/html-validate" "$scratch"/pages/*.html "$scratch/pages/.serve.html"
    rm "$scratch/pages/.serve.html"
else
    echo "pages: html-validate could not be fetched; its part is left out"
fi
node "$here/pages.mjs" "$scratch/pages" "$pictures"
