#!/usr/bin/env bash
# Runs the models of this directory and compares the result of each query with the one in the model's header.
#
#     docs/formal/check.sh [--install] [--sessions N] [MODEL...]     all models, unless some are named
#
# Verifpal searches with two sessions of each party. With --sessions it has another number of them, and without names the
# models are then those of the protocol alone: what is broken on purpose was found with two.
#
# Without Verifpal of the very version below the models are not run, and that is said. With --install it is built, once,
# under $CARGO_TARGET_DIR, which takes some minutes. VERIFPAL names another place where it may be.
set -euo pipefail
directory="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
target="${CARGO_TARGET_DIR:-$directory/../../target}"

# Another version may bound its search otherwise, and then the results mean something else.
version=1.6.7

install=no
sessions=()
names=()
usage() {
    echo "usage: docs/formal/check.sh [--install] [--sessions N] [MODEL...]" >&2
    exit 64
}
while [ "$#" -gt 0 ]; do
    case "$1" in
    --install) install=yes ;;
    --sessions)
        [[ "${2:-}" =~ ^[1-9]$ ]] || usage
        sessions=(--sessions "$2")
        shift
        ;;
    -*) usage ;;
    *) names+=("$(basename "$1" .vp)") ;;
    esac
    shift
done
if [ "${#names[@]}" -eq 0 ]; then
    for model in "$directory"/*.vp; do
        if [ "${#sessions[@]}" -gt 0 ] && [[ "$(basename "$model")" == broken_* ]]; then
            continue
        fi
        names+=("$(basename "$model" .vp)")
    done
fi

failed=0
fail() {
    echo "FAILED $1"
    failed=1
}

# --- What the headers and the README say, with or without Verifpal ------------------------------------------------

declare -A expected
for name in "${names[@]}"; do
    model="$directory/$name.vp"
    if [ ! -f "$model" ]; then
        echo "there is no model $name" >&2
        exit 64
    fi
    code="$(sed -n 's|^// expect: ||p' "$model")"
    if ! [[ "$code" =~ ^([acefu][01])+$ ]]; then
        fail "$name: its header needs one line '// expect: ' and a letter and a digit for each query"
        continue
    fi
    # One where nothing is found shows nothing.
    if [[ "$name" == broken_* && "$code" != *1* ]]; then
        fail "$name: what is broken on purpose needs an attack that is found"
    fi
    if ! grep -qF "| [\`$name\`]($name.vp) | \`$code\` |" "$directory/README.md"; then
        fail "$name: README.md has no row for it with the code $code"
    fi
    expected[$name]="$code"
done

# --- Verifpal -------------------------------------------------------------------------------------------------------

is_right() {
    [ "$("$1" --version 2>/dev/null || true)" = "verifpal $version" ]
}

built="$target/tools/verifpal-$version/bin/verifpal"
verifpal=
for candidate in ${VERIFPAL:+"$VERIFPAL"} "$built" verifpal; do
    if is_right "$candidate"; then
        verifpal="$candidate"
        break
    fi
done
if [ -z "$verifpal" ] && [ "$install" = yes ]; then
    # It asks for a newer Rust than this project does, and builds with this one.
    env -u RUSTC_BOOTSTRAP cargo install verifpal --version "$version" --locked --ignore-rust-version \
        --root "${built%/bin/verifpal}" --target-dir "$target/tools"
    is_right "$built" && verifpal="$built"
fi
if [ -z "$verifpal" ]; then
    if [ "$install" = yes ]; then
        fail "Verifpal $version was built, and does not run"
    else
        echo "SKIPPED: formal models: no verifpal $version; --install builds it"
    fi
    exit "$failed"
fi

# --- The models -----------------------------------------------------------------------------------------------------

for name in "${names[@]}"; do
    want="${expected[$name]:-}"
    [ -n "$want" ] || continue
    start=$SECONDS
    status=0
    output="$("$verifpal" verify "$directory/$name.vp" "${sessions[@]}" --result-code --color never </dev/null 2>&1)" || status=$?
    took=$((SECONDS - start))
    got="$(tail -n 1 <<<"$output")"
    if [ "$status" -ne 0 ] || ! [[ "$got" =~ ^([acefu][01])+$ ]]; then
        fail "$name: Verifpal could not analyze it"
        printf '%s\n' "$output"
        continue
    fi
    verdict=ok
    # The verdicts in the order of the queries; what stands before is the progress of the search.
    mapfile -t verdicts < <(sed '1,/Verification completed/d' <<<"$output" |
        grep -E '^ +(PASS \+|FAIL x) [a-z]+\? ' || true)
    if [ "${#verdicts[@]}" -ne $((${#got} / 2)) ]; then
        verdict=FAILED
        fail "$name: ${#verdicts[@]} verdicts for the code $got"
    fi
    if [ "${#want}" -ne "${#got}" ]; then
        verdict=FAILED
        fail "$name: it has $((${#got} / 2)) queries, and its header has $((${#want} / 2)) results"
    fi
    for ((i = 0; i < ${#got} / 2; i++)); do
        query="${verdicts[i]:-query $((i + 1))}"
        query="${query#*\? }"
        if [ "${want:i*2:2}" != "${got:i*2:2}" ]; then
            verdict=FAILED
            expects="${want:i*2:2}"
            fail "$name: query $((i + 1)) is ${got:i*2:2}, expected ${expects:-nothing}: $query"
        fi
        # Terms deeper than the search goes were left out: that no attack was found says less than it seems.
        if [[ "${verdicts[i]:-}" == *'[search truncated'* ]]; then
            verdict=FAILED
            fail "$name: query $((i + 1)): the search was cut short: $query"
        fi
    done
    printf '%-40s %-20s %-6s %3d s\n' "$name" "$got" "$verdict" "$took"
    [ "$verdict" = ok ] || printf '%s\n' "$output"
done
exit "$failed"
