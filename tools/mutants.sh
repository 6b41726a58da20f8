#!/bin/sh
# Shows that the tests catch what they are for: applies each patch of tests/mutants to a copy of the tree, builds the test that
# its first line names ("Caught by: tests/..."), runs it, and expects it to fail. mutants.sh [part of a patch's name]
# Ends with "N passed, N failed": a mutant that survives, does not apply or does not build has failed.
set -u
cd "$(dirname "$0")/.." || exit 2
root=$(pwd)
copy=$root/build/mutants
passed=0
failed=0
mkdir -p "$copy"
git ls-files -z | xargs -0 -I{} cp --parents -p {} "$copy" 2>/dev/null
for patch in tests/mutants/*"${1:-}"*.patch; do
    [ -e "$patch" ] || continue
    name=$(basename "$patch" .patch)
    test=$(sed -n '1s/^Caught by: *//p' "$patch")
    verdict=
    if [ -z "$test" ]; then
        verdict="names no test"
    elif ! (cd "$copy" && patch -s -p1 --dry-run <"$root/$patch" >/dev/null 2>&1); then
        verdict="does not apply"
    else
        (cd "$copy" && patch -s -p1 <"$root/$patch")
        if ! (cd "$copy" && make -s -j2 "build/release/$test" >"$copy/$name.log" 2>&1); then
            verdict="does not build; see $copy/$name.log"
        elif (cd "$copy" && MR_SEED=1 timeout 300 "build/release/$test" >"$copy/$name.log" 2>&1); then
            verdict="SURVIVED $test"
        fi
        (cd "$copy" && patch -s -R -p1 <"$root/$patch")
    fi
    if [ -z "$verdict" ]; then
        passed=$((passed + 1))
        echo "caught   $name  by $test"
    else
        failed=$((failed + 1))
        echo "FAIL     $name  $verdict"
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
